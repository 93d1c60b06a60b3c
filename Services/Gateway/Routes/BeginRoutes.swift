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
    let maximumBodyBytes: Int

    func add(to router: some RouterMethods<GatewayRequestContext>) {
        router.post("/chat", use: chat)
        router.post("/stream-chat", use: streamChat)
        router.post("/async-chat", use: asyncChat)
    }

    // MARK: The whole answer at once

    @Sendable private func chat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let start = ContinuousClock.now
        let turnRequest = try await read(request.body)
        guard turnRequest.stream != true else {
            throw APIError.invalid("stream", "must be false here; POST /stream-chat streams")
        }
        let key = try IdempotencyKey(request.headers)
        let accepted = try await intake.accept(turnRequest, kind: .chat, key: key, from: context.principal)
        note(accepted)
        let timing = timing(of: context)
        context.connection.leaveWithClient()
        let (text, end) = try await wholeAnswer(
            of: accepted.id, tenant: context.principal.tenant, canBeAskedForAgain: key != nil)
        return try .answer(text, end, time: ContinuousClock.now - start, turn: accepted.id)
            .marking(accepted, timing)
    }

    private func wholeAnswer(
        of turn: TurnID, tenant: String, canBeAskedForAgain: Bool
    ) async throws -> (String, TurnEnd) {
        try await relay.withReader(of: .init(turn: turn, tenant: tenant, from: 0, isKnown: true)) { reader in
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
        let (turn, timing) = try await begin(request, .stream, context)
        return Response(
            json: .object([
                ("status", .string("streaming")), ("message", .string("follow the tokens at stream_endpoint")),
                ("correlation_id", .string(turn.id.description)), ("stream_endpoint", .string("/stream/\(turn.id)")),
            ]), headers: .correlation(turn.id)
        ).marking(turn, timing)
    }

    @Sendable private func asyncChat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let (turn, timing) = try await begin(request, .batch, context)
        return .processing(turn.id).marking(turn, timing)
    }

    private func begin(
        _ request: Request, _ kind: Turn.Kind, _ context: GatewayRequestContext
    ) async throws -> (TurnIntake.Accepted, AcceptTiming) {
        let key = try IdempotencyKey(request.headers)
        let accepted = try await intake.accept(
            try await read(request.body), kind: kind, key: key, from: context.principal)
        note(accepted)
        return (accepted, timing(of: context))
    }

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
}

extension Response {
    /// Says in headers that the request had been made before, and how long accepting it took.
    fileprivate func marking(_ accepted: TurnIntake.Accepted, _ timing: AcceptTiming) -> Response {
        var response = self
        if accepted.isRepeat, let name = IdempotencyKey.replayedHeader { response.headers[name] = "true" }
        if let name = AcceptTiming.headerName { response.headers[name] = timing.header }
        return response
    }
}
