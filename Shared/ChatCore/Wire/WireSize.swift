/// About how many bytes a message comes to as JSON: enough to tell a usual one from a large one.
extension Turn {
    public var wireBytes: Int {
        context.reduce(message.utf8.count + (system?.utf8.count ?? 0) + 512) { $0 + $1.content.utf8.count + 32 }
    }
}

extension TurnOutcome {
    public var wireBytes: Int {
        message.utf8.count + response.utf8.count + (system?.utf8.count ?? 0) + eventEnds.count * 6 + 512
    }
}

extension GenerationJob {
    /// Of one token id and its comma.
    public static let idBytes = 6

    public var wireBytes: Int { (prompt.count + outputSoFar.count) * GenerationJob.idBytes + 512 }
}
