import ChatCore
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import RedisStore

/// What became of a turn: follow its tokens, or look whether it has ended.
struct FollowRoutes: Sendable {
    let relay: TurnRelay
    let settled: SettledTurns
    let heartbeat: Duration
    let logger: Logger

    func add(to router: some RouterMethods<GatewayRequestContext>) {
        router.get("/stream/{id}", use: stream)
        router.get("/check-response/{id}", use: checkResponse)
    }

    // MARK: Token by token

    @Sendable private func stream(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let id = try turnID(context)
        let from = try firstIndex(request)
        var headers = HTTPFields.correlation(id)
        headers.append(contentsOf: ServerSentEvents.headers)
        guard try await isLogged(id, tenant: context.principal.tenant) else {
            let events = try await settled.find(id, of: context.principal.tenant).events(from: from)
            let text = events.reduce(into: "") { ServerSentEvents.append($1, to: &$0) }
            return Response(status: .ok, headers: headers, body: .init(byteBuffer: ByteBuffer(string: text)))
        }
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                do {
                    try await request.body.consumeWithCancellationOnInboundClose { _ in
                        try await relay.withReader(of: id, from: from, endsOnShutdown: true) { reader in
                            try await write(&reader, to: &writer)
                        }
                    }
                    try await writer.finish(nil)
                } catch is CancellationError {
                    // The client has left. Its turn goes on for the grace, then the orchestrator cancels it.
                    logger.debug("a reader left", metadata: ["turn": "\(id)"])
                }
            }
        ).closingConnection()
    }

    private func write(_ reader: inout TurnReader, to writer: inout any ResponseBodyWriter) async throws {
        var lastWrite = ContinuousClock.now
        // The headers and this comment go out at once: a client that waits for its first token knows it is connected.
        try await writer.write(ByteBuffer(string: ServerSentEvents.heartbeat))
        while let events = try await reader.next() {
            var text = ""
            if events.isEmpty {
                guard lastWrite + heartbeat < .now else { continue }
                text = ServerSentEvents.heartbeat
            }
            for event in events { ServerSentEvents.append(event, to: &text) }
            try await writer.write(ByteBuffer(string: text))
            lastWrite = .now
            if case .end = events.last { return }
        }
        // The client has left, or this gateway drains: then the stream is cut here, and the client goes on at another.
        try Task.checkCancellation()
    }

    /// Last-Event-ID is the index of the last token that the client has seen.
    private func firstIndex(_ request: Request) throws(APIError) -> Int {
        guard let name = HTTPField.Name("Last-Event-ID"), let text = request.headers[name], !text.isEmpty else {
            return 0
        }
        guard let index = Int(text), (0..<Int(Int32.max)).contains(index) else {
            throw .invalid("Last-Event-ID", "must be the id of an event")
        }
        return index + 1
    }

    // MARK: Later

    @Sendable private func checkResponse(_ request: Request, _ context: GatewayRequestContext) async throws -> Response
    {
        let id = try turnID(context)
        if try await isLogged(id, tenant: context.principal.tenant) {
            guard let (text, end) = try await endedAnswer(of: id) else { return .processing(id) }
            return try .answer(text, end, time: .milliseconds(end.duration), turn: id)
        }
        let settled = try await settled.find(id, of: context.principal.tenant)
        let end = TurnEnd(outcome: settled)
        return try .answer(settled.response, end, time: .milliseconds(end.duration), turn: id)
    }

    /// The answer of a turn whose log is there, or nil while it goes on.
    private func endedAnswer(of id: TurnID) async throws -> (String, TurnEnd)? {
        let events: [TurnEvent]?
        do throws(RedisError) { events = try await relay.log.events(of: id, from: 0) } catch {
            throw APIError.unavailable("Redis")
        }
        guard let events, case .end(_, let end) = events.last else { return nil }
        let text = events.reduce(into: "") { text, event in
            if case .token(_, let token) = event { text += token }
        }
        return (text, end)
    }

    // MARK: What the paths share

    private func turnID(_ context: GatewayRequestContext) throws -> TurnID {
        // What is no id at all names no turn either: 404, as for an unknown one.
        guard let id = TurnID(try context.parameters.require("id")) else { throw APIError.unknownTurn }
        return id
    }

    /// Whether the turn's log is in Redis.
    /// - Throws: `APIError.unknownTurn` when it is another tenant's: its existence is nobody else's business.
    private func isLogged(_ id: TurnID, tenant: String) async throws(APIError) -> Bool {
        let record: TurnLog.Record?
        do throws(RedisError) { record = try await relay.log.record(of: id) } catch { throw .unavailable("Redis") }
        guard let record else { return false }
        guard record.owner.tenant == tenant else { throw .unknownTurn }
        return true
    }
}
