import ChatCore
import Foundation
import Hummingbird
import NIOCore
import RedisStore

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
        return try .answer(text, end, time: ContinuousClock.now - start, turn: turn.id)
    }

    private func wholeAnswer(of turn: TurnID) async throws -> (String, TurnEnd) {
        try await relay.withReader(of: turn, from: 0, endsOnShutdown: false) { reader in
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
            // The client has left, and a chat cannot be resumed: nobody will ever read the answer.
            let log = relay.log
            Task { try await log.requestCancel(turn, reason: "the client disconnected") }
            throw CancellationError()
        }
    }

    // MARK: Token by token, and later

    @Sendable private func streamChat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let turn = try await intake.accept(try await read(request.body), kind: .stream, from: context.principal)
        return Response(
            json: .object([
                ("status", .string("streaming")), ("message", .string("follow the tokens at stream_endpoint")),
                ("correlation_id", .string(turn.id.description)), ("stream_endpoint", .string("/stream/\(turn.id)")),
            ]), headers: .correlation(turn.id))
    }

    @Sendable private func asyncChat(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let turn = try await intake.accept(try await read(request.body), kind: .batch, from: context.principal)
        return .processing(turn.id)
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
