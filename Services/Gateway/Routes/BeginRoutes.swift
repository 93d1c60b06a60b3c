import ChatCore
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import RedisStore
import ServiceKit
import TraceKit
import Tracing

/// The three ways to begin a turn: wait for the whole answer, follow its tokens, or ask for it later.
struct BeginRoutes: Sendable {
    let intake: TurnIntake
    let relay: TurnRelay
    let body: BodyReader
    let room: BodyRoom
    let unknownFields: UnknownFields
    var pool = WorkPool.shared

    func add(to router: some RouterMethods<GatewayRequestContext>) {
        router.post("/chat", use: chat)
        router.post("/stream-chat", use: streamChat)
        router.post("/async-chat", use: asyncChat)
    }

    // MARK: The whole answer at once

    @Sendable private func chat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let start = ContinuousClock.now
        let begun = try await begin(request, .chat, context)
        context.connection.leaveWithClient()
        let turn = begun.turn.id
        let (text, end) = try await wholeAnswer(
            of: turn, by: context.principal, canBeAskedForAgain: begun.hasKey)
        return try await .answer(text, end, time: ContinuousClock.now - start, turn: turn, on: pool).marking(begun)
    }

    private func wholeAnswer(
        of turn: TurnID, by principal: Principal, canBeAskedForAgain: Bool
    ) async throws -> (String, TurnEnd) {
        let place = TurnReader.Place(
            turn: turn, tenant: principal.tenant, key: principal.keyID, from: 0, isKnown: true)
        return try await relay.withReader(of: place) { reader in
            var text = ""
            while let events = try await reader.next() {
                for event in events {
                    switch event {
                    case .token(_, let token): text += token
                    case .end(_, let end): return (text, end)
                    case .waiting: break
                    }
                }
            }
            guard reader.leave == nil else { throw APIError.draining }
            // The client has left. Without a key it cannot come back: nobody will ever read the answer. With one it may,
            // as a stream's may, and has the same grace.
            if !canBeAskedForAgain {
                let log = relay.log
                Task { try await log.requestCancel(turn, reason: "the client disconnected") }
            }
            throw CancellationError()
        }
    }

    // MARK: Token by token, and later

    @Sendable private func streamChat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let begun = try await begin(request, .stream, context)
        let turn = begun.turn
        return Response(
            json: .object([
                ("status", .string("streaming")), ("message", .string("follow the tokens at stream_endpoint")),
                ("correlation_id", .string(turn.id.description)), ("stream_endpoint", .string("/stream/\(turn.id)")),
            ]), headers: .correlation(turn.id)
        ).marking(begun)
    }

    @Sendable private func asyncChat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let begun = try await begin(request, .batch, context)
        return .processing(begun.turn.id).marking(begun)
    }

    private func begin(
        _ request: Request, _ kind: Turn.Kind, _ context: GatewayRequestContext
    ) async throws -> Begun {
        let key = try IdempotencyKey(request.headers)
        return try await room.withPlace(of: context.principal.keyID) { place in
            let turnRequest = try await read(request, context, into: place)
            guard kind != .chat || turnRequest.stream != true else {
                throw APIError.invalid("stream", "must be false here; POST /stream-chat streams")
            }
            let accepted = try await intake.accept(turnRequest, kind: kind, key: key, from: context.principal)
            note(accepted)
            return Begun(
                turn: accepted, timing: timing(of: context), ignored: turnRequest.ignored, hasKey: key != nil)
        }
    }

    /// What a request came to before its answer.
    fileprivate struct Begun {
        let turn: TurnIntake.Accepted
        let timing: AcceptTiming
        let ignored: [JSONMembers.Field]
        /// Whether its client can ask for it again.
        let hasKey: Bool
    }

    /// Names the fields that were passed over.
    fileprivate static let ignoredHeader = HTTPField.Name("X-Ignored-Fields")

    private func timing(of context: GatewayRequestContext) -> AcceptTiming {
        let timing = AcceptTiming(
            total: ContinuousClock.now - context.arrival, waits: WaitLedger.current?.waits ?? .init())
        timing.record()
        return timing
    }

    /// The request's span names the turn that it began, or had begun before.
    private func note(_ accepted: TurnIntake.Accepted) {
        ServiceContext.current?.activeSpan?.updateAttributes { attributes in
            attributes["switchboard.turn.id"] = "\(accepted.id)"
            if accepted.isRepeat { attributes["switchboard.repeat"] = true }
        }
    }

    private func read(
        _ request: Request, _ context: GatewayRequestContext, into place: BodyRoom.Place
    ) async throws -> TurnRequest {
        let buffer = try await body.read(request, on: context.connection, into: place)
        return try await pool.run(bytes: buffer.readableBytes) { [unknownFields] _ in
            try TurnRequest(body: Data(buffer.readableBytesView), unknownFields: unknownFields)
        }
    }
}

extension Response {
    /// Says in headers that the request had been made before, how long accepting it took, and what of it was passed over.
    fileprivate func marking(_ begun: BeginRoutes.Begun) -> Response {
        var response = self
        if !begun.ignored.isEmpty, let name = BeginRoutes.ignoredHeader {
            response.headers[name] = TurnRequest.headerValue(begun.ignored)
        }
        if begun.turn.isRepeat, let name = IdempotencyKey.replayedHeader { response.headers[name] = "true" }
        if let name = AcceptTiming.headerName { response.headers[name] = begun.timing.header }
        return response
    }
}
