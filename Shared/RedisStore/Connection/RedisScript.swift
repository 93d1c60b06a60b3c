import Synchronization

/// A Lua script that the server runs atomically; sent by its digest once a server has told us that.
///
/// Keep one value for each script (a `static let`): it remembers the digest.
public struct RedisScript: Sendable {
    public let source: String
    let effect: CommandEffect
    let digest = Digest()

    /// - Parameter effect: whether a server that takes no writes can run it.
    public init(_ source: String, effect: CommandEffect = .mayWrite) {
        self.source = source
        self.effect = effect
    }

    /// The server's SHA-1 of the source: the same at every server, so it holds over reconnects.
    final class Digest: Sendable {
        private let stored = Mutex<String?>(nil)
        var value: String? {
            get { stored.withLock { $0 } }
            set { stored.withLock { $0 = newValue } }
        }
    }
}

extension RedisPool {
    /// Runs the script; a server that does not have it (the first use, a restart) is given it.
    ///
    /// All keys of a script carry the same hash tag.
    public func run(
        _ script: RedisScript, keys: [String], arguments: [RedisArgument]
    ) async throws(RedisError) -> RedisValue {
        let operands = [.integer(Int64(keys.count))] + keys.map(RedisArgument.text) + arguments
        guard let digest = script.digest.value else {
            guard let digest = try await send("SCRIPT", "LOAD", .text(script.source)).text else {
                throw .unexpectedReply("SCRIPT LOAD gave no digest")
            }
            script.digest.value = digest
            return try await send("EVALSHA", [.text(digest)] + operands, script.effect)
        }
        do {
            return try await send("EVALSHA", [.text(digest)] + operands, script.effect)
        } catch .server(let text) where text.hasPrefix("NOSCRIPT") {
            // EVAL also leaves the script with the server.
            return try await send("EVAL", [.text(script.source)] + operands, script.effect)
        }
    }
}
