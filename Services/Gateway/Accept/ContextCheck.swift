import ChatCore

/// Refuses what is longer than the model's context by its bytes alone. What is not that long the planner measures.
enum ContextCheck {
    /// - Parameter bounds: what orchestrators say of the model's context.
    /// - Throws: `APIError` 400 when the message and the client's context cannot fit by any of them.
    static func check(_ request: TurnRequest, _ bounds: [ContextBound]) throws(APIError) {
        let bounds = bounds.compactMap { bound in bound.bytes.map { (bound, bytes: $0) } }
        guard let (bound, bytes) = bounds.max(by: { $0.bytes < $1.bytes }) else { return }
        // Templates may trim what they put in.
        let texts = [request.message] + (request.context ?? []).map(\.content)
        let given = texts.reduce(0) { $0 + trimmedBytes($1) }
        guard given > bytes else { return }
        // No token stands for more bytes, so there are at least so many.
        let tokens = given / bound.bytesPerToken + (given % bound.bytesPerToken > 0 ? 1 : 0)
        throw .failed(
            TurnFailure(
                .contextLengthExceeded,
                "message and context have at least \(tokens) tokens; the model's context has \(bound.tokens)"))
    }

    private static func trimmedBytes(_ text: String) -> Int {
        let scalars = text.unicodeScalars
        guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
            let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
        else { return 0 }
        return text.utf8.distance(from: first, to: scalars.index(after: last))
    }
}
