/// What a server says of its memory.
public struct RedisMemory: Sendable, Equatable {
    public let usedBytes: Int64
    /// `maxmemory`, beyond which it refuses writes; nil when it has none.
    public let maximumBytes: Int64?

    /// How much of what it may use is used: 0 to about 1; nil without a maximum.
    public var share: Double? { maximumBytes.map { Double(usedBytes) / Double($0) } }

    /// Reads the answer to INFO memory; nil when it says too little.
    public init?(info: String) {
        var numbers: [Substring: Int64] = [:]
        for line in info.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0] == "used_memory" || parts[0] == "maxmemory" else { continue }
            numbers[parts[0]] = Int64(parts[1])
        }
        guard let used = numbers["used_memory"], used >= 0, let maximum = numbers["maxmemory"] else { return nil }
        usedBytes = used
        maximumBytes = maximum > 0 ? maximum : nil
    }
}

extension RedisPool {
    /// What the server uses now, and what it may use.
    public func memory() async throws(RedisError) -> RedisMemory {
        let reply = try await send("INFO", "memory")
        guard let memory = reply.text.flatMap({ RedisMemory(info: $0) }) else {
            throw .unexpectedReply("INFO memory: \(reply.summary)")
        }
        return memory
    }
}
