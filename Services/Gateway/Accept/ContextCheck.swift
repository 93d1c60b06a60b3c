import ChatCore

/// Refuses what is longer than the model's context by its bytes alone. What is not that long the planner measures.
enum ContextCheck {
    /// - Parameter bounds: what orchestrators say of the model's context.
    /// - Throws: `APIError` 400 when the message and the client's context cannot fit by any of them.
    static func check(_ request: TurnRequest, _ bounds: [ContextBound]) throws(APIError) {
        let bounds = bounds.compactMap { bound in bound.bytes.map { (bound, bytes: $0) } }
        guard let (bound, bytes) = bounds.max(by: { $0.bytes < $1.bytes }) else { return }
        let texts = [request.message] + (request.context ?? []).map(\.content)
        // Nearly every request: nothing of it has to be looked at.
        guard texts.reduce(0, { $0 + $1.utf8.count }) > bytes else { return }
        let given = texts.reduce(0) { $0 + leastBytes($1) }
        guard given > bytes else { return }
        // No token stands for more bytes, so there are at least so many.
        let tokens = given / bound.bytesPerToken + (given % bound.bytesPerToken > 0 ? 1 : 0)
        throw .failed(
            TurnFailure(
                .contextLengthExceeded,
                "message and context have at least \(tokens) tokens; the model's context has \(bound.tokens)"))
    }

    /// Printable ASCII without the spaces at both ends: templates may trim what they put in, and a tokenizer may lack
    /// tokens for other bytes.
    private static func leastBytes(_ text: String) -> Int {
        let space = UInt8(ascii: " ")
        var (count, spaces, hasBegun) = (0, 0, false)
        for byte in text.utf8 {
            switch byte {
            case space: spaces += 1
            case 0x21...0x7E:
                count += 1 + (hasBegun ? spaces : 0)
                (spaces, hasBegun) = (0, true)
            default: break
            }
        }
        return count
    }
}
