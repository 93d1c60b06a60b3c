import ChatCore
import HTTPTypes
import Hummingbird
import Metrics
import NIOCore
import RedisStore
import TraceKit
import Tracing

/// What became of a turn: follow its tokens, look whether it has ended, or ask for its end.
struct FollowRoutes: Sendable {
    let streams: StreamAnswer.Environment
    let resumes: Counter

    private var relay: TurnRelay { streams.relay }

    func add(to router: some RouterMethods<GatewayRequestContext>) {
        router.get("/stream/{id}", use: stream)
        router.delete("/stream/{id}", use: cancel)
        router.get("/check-response/{id}", use: checkResponse)
    }

    /// How long a `DELETE` waits for a turn whose log Redis has lost: its holder writes it again within moments.
    private static let patience: Duration = .seconds(5)
    private static let lookInterval: Duration = .milliseconds(200)

    // MARK: Token by token

    @Sendable private func stream(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let id = try turnID(context)
        let from = try firstIndex(request)
        if from > 0 { resumes.increment() }
        ServiceContext.current?.activeSpan?.updateAttributes { attributes in
            attributes["switchboard.turn.id"] = "\(id)"
            // Beyond 0 somebody comes back.
            attributes["switchboard.stream.from"] = from
        }
        var headers = HTTPFields.correlation(id)
        headers.append(contentsOf: ServerSentEvents.headers)
        let (tenant, connection) = (context.principal.tenant, context.connection)
        let isKnown: Bool
        switch try await relay.finder.find(id, of: tenant) {
        case .logged: isKnown = true
        case .awaited: isKnown = false
        case .settled(let outcome):
            let text = try await relay.pool.run(bytes: outcome.eventBytes) { _ in
                ServerSentEvents.text(of: outcome.events(from: from))
            }
            return Response(status: .ok, headers: headers, body: .init(byteBuffer: ByteBuffer(string: text)))
        }
        let place = TurnReader.Place(
            turn: id, tenant: tenant, key: context.principal.keyID, from: from, isKnown: isKnown)
        if let refusal = relay.refusal(of: place) { throw refusal }
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                // The headers and this comment go out at once: a client that waits for its first token knows it is
                // connected. What follows needs no task of this request.
                try await writer.write(ByteBuffer(string: ServerSentEvents.heartbeat))
                try StreamAnswer.begin(of: place, on: connection, streams)
            }
        ).closingConnection()
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

    // MARK: Asking for the end

    /// Cancels a turn, whichever way it was begun and wherever it is: 202 when it will end as cancelled (or has ended in
    /// this moment), 200 with its status when it had ended before.
    @Sendable private func cancel(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let id = try turnID(context)
        let start = ContinuousClock.now
        while true {
            switch try await relay.finder.find(id, of: context.principal.tenant) {
            case .logged:
                do throws(RedisError) {
                    // A turn in a queue keeps the request in its record, and whoever takes it ends it first thing.
                    if try await relay.log.requestCancel(id, reason: "the client asked for its end") {
                        streams.logger.info("a turn is cancelled by its client", metadata: ["turn": "\(id)"])
                        return .cancellation(of: id, status: "cancelling")
                    }
                } catch {
                    throw APIError.redis(error)
                }
                if let (_, end) = try await endedAnswer(of: id) {
                    return .cancellation(of: id, status: end.status.rawValue)
                }
            case .settled(let outcome): return .cancellation(of: id, status: outcome.status.rawValue)
            case .awaited: break
            }
            guard start + FollowRoutes.patience > .now else { throw APIError.logLost }
            try await Task.sleep(for: FollowRoutes.lookInterval)
        }
    }

    // MARK: Later

    @Sendable private func checkResponse(_ request: Request, _ context: GatewayRequestContext) async throws -> Response
    {
        let id = try turnID(context)
        switch try await relay.finder.find(id, of: context.principal.tenant) {
        case .logged(let record):
            // The log of a turn that goes on is read by nobody who only asks whether it has ended.
            guard record.hasEnded, let (text, end) = try await endedAnswer(of: id) else { return .processing(id) }
            return try await .answer(text, end, time: .milliseconds(end.duration), turn: id, on: relay.pool)
        case .settled(let outcome):
            let end = TurnEnd(outcome: outcome)
            return try await .answer(
                outcome.response, end, time: .milliseconds(end.duration), turn: id, on: relay.pool)
        case .awaited: return .processing(id)
        }
    }

    /// The answer of a turn whose log is there, or nil while it goes on.
    private func endedAnswer(of id: TurnID) async throws -> (String, TurnEnd)? {
        let events: [TurnEvent]?
        do throws(RedisError) { events = try await relay.log.events(of: id, from: 0) } catch {
            throw APIError.redis(error)
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
}
