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

/// One run of a script.
struct ScriptCall: Sendable {
    let script: RedisScript
    /// All with the same hash tag.
    let keys: [String]
    let arguments: [RedisArgument]

    /// The command's arguments behind the script or its digest.
    fileprivate var operands: [RedisArgument] {
        [.integer(Int64(keys.count))] + keys.map(RedisArgument.text) + arguments
    }
}

extension RedisPool {
    /// Runs the script; a server that does not have it (the first use, a restart) is given it.
    ///
    /// All keys of a script carry the same hash tag.
    public func run(
        _ script: RedisScript, keys: [String], arguments: [RedisArgument]
    ) async throws(RedisError) -> RedisValue {
        try await run(ScriptCall(script: script, keys: keys, arguments: arguments))
    }

    func run(_ call: ScriptCall) async throws(RedisError) -> RedisValue {
        guard let reply = try await run([call]).first else { throw .unexpectedReply("nothing") }
        return reply
    }

    /// Runs the scripts in one trip, in their order; others' commands may come between. Each is run, whatever the server says
    /// to the others.
    /// - Throws: `.server` when it refuses one of them.
    func run(_ calls: [ScriptCall]) async throws(RedisError) -> [RedisValue] {
        let effect = CommandEffect(of: calls.map(\.script.effect))
        var commands: [(String, [RedisArgument])] = []
        for call in calls {
            commands.append(("EVALSHA", [.text(try await digest(of: call.script))] + call.operands))
        }
        var replies = try await pipeline(commands, effect)
        let missing = replies.indices.filter {
            if case .error(let text) = replies[$0] { text.hasPrefix("NOSCRIPT") } else { false }
        }
        if !missing.isEmpty {
            // EVAL also leaves the script with the server.
            let again = missing.map { ("EVAL", [.text(calls[$0].script.source)] + calls[$0].operands) }
            for (index, reply) in zip(missing, try await pipeline(again, effect)) { replies[index] = reply }
        }
        for case .error(let text) in replies { throw .server(text) }
        return replies
    }

    private func digest(of script: RedisScript) async throws(RedisError) -> String {
        if let digest = script.digest.value { return digest }
        guard let digest = try await send("SCRIPT", "LOAD", .text(script.source)).text else {
            throw .unexpectedReply("SCRIPT LOAD gave no digest")
        }
        script.digest.value = digest
        return digest
    }
}
