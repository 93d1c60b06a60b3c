import ChatCore
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import RedisStore

/// The six paths of a turn: three ways to begin one, three to learn what became of it.
struct TurnRoutes: Sendable {
    let intake: TurnIntake
    let relay: TurnRelay
    let settled: SettledTurns
    let maximumBodyBytes: Int
    let heartbeat: Duration
    let logger: Logger

    func add(to router: some RouterMethods<GatewayRequestContext>) {
        router.post("/chat", use: chat)
        router.post("/stream-chat", use: streamChat)
        router.get("/stream/{id}", use: stream)
        router.post("/async-chat", use: asyncChat)
        router.get("/check-response/{id}", use: checkResponse)
    }

    // MARK: The whole answer at once

    @Sendable private func chat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        // The body is read inside, since only what still holds the connection's stream hears of its end.
        try await request.body.consumeWithCancellationOnInboundClose { body in
            do {
                return try await wholeChat(body, context).closingConnection()
            } catch let error as APIError {
                return error.response.closingConnection()
            }
        }
    }

    private func wholeChat(_ body: RequestBody, _ context: GatewayRequestContext) async throws -> Response {
        let start = ContinuousClock.now
        let turnRequest = try await read(body)
        guard turnRequest.stream != true else {
            throw APIError.invalid("stream", "must be false here; POST /stream-chat streams")
        }
        let turn = try await intake.accept(turnRequest, kind: .chat, from: context.principal)
        let (text, end) = try await wholeAnswer(of: turn.id)
        switch end.status {
        case .done: return answer(text, end, time: ContinuousClock.now - start, turn: turn.id)
        case .failed: throw APIError.turnFailed(end.error ?? "the turn failed")
        case .cancelled: throw APIError.turnCancelled
        }
    }

    private func wholeAnswer(of turn: TurnID) async throws -> (String, TurnEnd) {
        try await relay.withReader(of: turn, from: 0, endsOnShutdown: false) { reader in
            var text = ""
            while let events = try await reader.next() {
                for event in events {
                    switch event {
                    case .token(_, let token): text += token
                    case .end(_, let end): return (text, end)
                    }
                }
            }
            // The client has left, and a chat cannot be resumed: nobody will ever read the answer.
            let log = relay.log
            Task { try await log.requestCancel(turn, reason: "the client disconnected") }
            throw CancellationError()
        }
    }

    private func answer(_ text: String, _ end: TurnEnd, time: Duration, turn: TurnID) -> Response {
        Response(
            json: .object([
                ("response", .string(text)), ("conversation_id", .integer(end.conversation.value)),
                ("processing_time", .number((time / .milliseconds(1)).rounded() / 1000)),
            ]), headers: correlation(turn))
    }

    // MARK: Token by token

    @Sendable private func streamChat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let turn = try await intake.accept(try await read(request.body), kind: .stream, from: context.principal)
        return Response(
            json: .object([
                ("status", .string("streaming")), ("message", .string("follow the tokens at stream_endpoint")),
                ("correlation_id", .string(turn.id.description)), ("stream_endpoint", .string("/stream/\(turn.id)")),
            ]), headers: correlation(turn.id))
    }

    @Sendable private func stream(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let id = try turnID(context)
        let from = try firstIndex(request)
        var headers = correlation(id)
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

    @Sendable private func asyncChat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let turn = try await intake.accept(try await read(request.body), kind: .batch, from: context.principal)
        return Response(status: .accepted, json: processing(turn.id), headers: correlation(turn.id))
    }

    @Sendable private func checkResponse(_ request: Request, _ context: GatewayRequestContext) async throws -> Response
    {
        let id = try turnID(context)
        let outcome: (text: String, end: TurnEnd)
        if try await isLogged(id, tenant: context.principal.tenant) {
            guard let ended = try await endedAnswer(of: id) else {
                return Response(status: .accepted, json: processing(id), headers: correlation(id))
            }
            outcome = ended
        } else {
            let settled = try await settled.find(id, of: context.principal.tenant)
            outcome = (settled.response, TurnEnd(outcome: settled))
        }
        switch outcome.end.status {
        case .done: return answer(outcome.text, outcome.end, time: .milliseconds(outcome.end.duration), turn: id)
        case .failed: throw APIError.turnFailed(outcome.end.error ?? "the turn failed")
        case .cancelled: throw APIError.turnCancelled
        }
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

    private func processing(_ id: TurnID) -> JSON {
        .object([
            ("status", .string("processing")), ("message", .string("ask for the answer at check_endpoint")),
            ("correlation_id", .string(id.description)), ("check_endpoint", .string("/check-response/\(id)")),
        ])
    }

    // MARK: What the paths share

    private func read(_ body: RequestBody) async throws -> TurnRequest {
        let buffer: ByteBuffer
        do {
            buffer = try await body.collect(upTo: maximumBodyBytes)
        } catch is NIOTooManyBytesError {
            throw APIError(
                status: .contentTooLarge, code: "too_large", message: "the body has more than \(maximumBodyBytes) bytes"
            )
        } catch  where !Task.isCancelled {
            // Cut off halfway, or chunks that are none: the connection's fault or the client's, and no news for the log.
            throw APIError.invalid("body", "ended too early or is malformed")
        }
        return try TurnRequest(body: Data(buffer.readableBytesView))
    }

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

    private func correlation(_ id: TurnID) -> HTTPFields {
        guard let name = HTTPField.Name("X-Correlation-ID") else { return [:] }
        return [name: id.description]
    }
}

extension Response {
    /// Watching a connection for its end uses it up: it closes after this response, and the client is told so.
    fileprivate func closingConnection() -> Response {
        var response = self
        response.headers[.connection] = "close"
        return response
    }
}
