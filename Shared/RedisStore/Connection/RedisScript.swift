/// A Lua script that the server runs atomically; sent by its digest once the server has it.
public struct RedisScript: Sendable {
    public let source: String

    public init(_ source: String) { self.source = source }
}
