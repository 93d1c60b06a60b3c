import Logging
import ServiceKit
import ServiceLifecycle

/// Reads an orchestrator's inbox on a connection of its own, from the end at its start on, and trims what it has read.
///
/// After a reconnect it goes on where it was; when the stream was lost (Redis was emptied) it starts at its beginning.
public final class InboxReader: Service, Sendable {
    /// Entries of one read.
    static let batch = 512
    /// How long the server holds a read; a lost stream is noticed after it at the latest.
    static let block: Duration = .seconds(1)

    private let connection: RedisConnection
    private let executor: SocketExecutor
    private let gate: ReadyGate
    private let key: String
    private let logger: Logger
    private let handler: @Sendable ([[UInt8]]) -> Void

    /// - Parameter handler: gets the payloads in order, a batch at a time; the next batch waits for its return.
    public init(
        configuration: RedisConfiguration, orchestrator: String, logger: Logger,
        handler: @escaping @Sendable ([[UInt8]]) -> Void
    ) {
        let executor = SocketExecutor(name: "redis-inbox")
        let gate = ReadyGate()
        self.executor = executor
        self.gate = gate
        self.logger = logger
        self.handler = handler
        key = Inbox.key(orchestrator)
        connection = RedisConnection(configuration: configuration, executor: executor, logger: logger) {
            gate.note($0)
        }
    }

    deinit { executor.shutDown() }

    public func run() async throws {
        await connection.link.start()
        await cancelWhenGracefulShutdown { await self.readUntilCancelled() }
        await connection.link.stop()
    }

    private func readUntilCancelled() async {
        var position: StreamID?
        while !Task.isCancelled {
            do {
                try await gate.wait()
                try await read(from: &position)
            } catch .cancelled {
                return
            } catch {
                logger.warning("the inbox cannot be read", metadata: ["error": "\(error)"])
                // A refusal (LOADING, a key of another type) comes back at once: no tight loop.
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Reads until something fails. `position` is the last entry handed over, or where reading began.
    private func read(from position: inout StreamID?) async throws(RedisError) {
        while !Task.isCancelled {
            let last = try await lastEntry()
            // Ids only rise, so a stream whose last is below ours is another one.
            var current = position.map { last < $0 ? StreamID() : $0 } ?? last
            position = current
            var isSilent = false
            while !isSilent {
                let entries = try await readOnce(after: current)
                isSilent = entries.isEmpty
                guard let newest = entries.last?.id else { continue }
                (current, position) = (newest, newest)
                handler(entries.map(\.payload))
            }
        }
    }

    /// Trims what was read and waits for more, in one write.
    private func readOnce(after id: StreamID) async throws(RedisError) -> [(id: StreamID, payload: [UInt8])] {
        var bytes: [UInt8] = []
        CommandEncoder.append("XTRIM", [.text(key), "MINID", .text(id.next.description)], to: &bytes)
        CommandEncoder.append(
            "XREAD",
            [
                "COUNT", .integer(Int64(Self.batch)), "BLOCK", .integer(Self.block.milliseconds), "STREAMS",
                .text(key), .text(id.description),
            ], to: &bytes)
        let replies = try await connection.exchange(bytes, replies: 2, patience: Self.block)
        guard replies.count == 2 else { throw .unexpectedReply("the inbox") }
        if case .error(let text) = replies[1] { throw .server(text) }
        // [[key, [[id, [field, value]], …]]]; null when the wait was in vain.
        guard let rows = replies[1].array?.first?.array?.last?.array else { return [] }
        var entries: [(id: StreamID, payload: [UInt8])] = []
        for row in rows {
            guard let parts = row.array, parts.count == 2, let id = parts[0].text.flatMap({ StreamID($0) }),
                let payload = parts[1].array?.last?.data
            else { throw .unexpectedReply("the inbox's entry: \(row.summary)") }
            entries.append((id, payload))
        }
        return entries
    }

    /// The id that the stream gave out last, also when that entry is trimmed; zero without a stream.
    private func lastEntry() async throws(RedisError) -> StreamID {
        var bytes: [UInt8] = []
        CommandEncoder.append("XINFO", ["STREAM", .text(key)], to: &bytes)
        guard let reply = try await connection.exchange(bytes, replies: 1).first else { return StreamID() }
        if case .error(let text) = reply {
            guard text.hasPrefix("ERR no such key") else { throw .server(text) }
            return StreamID()
        }
        let parts = reply.array ?? []
        guard let name = parts.firstIndex(where: { $0.text == "last-generated-id" }), name + 1 < parts.count,
            let id = parts[name + 1].text.flatMap({ StreamID($0) })
        else { throw .unexpectedReply("XINFO: \(reply.summary)") }
        return id
    }
}
