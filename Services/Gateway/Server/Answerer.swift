import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTPTypes
import ServiceKit

/// Answers one request: has the router make the response, and sends it. A body that is not finished when it returns goes
/// on without this: somebody else has the connection then.
struct Answerer: Sendable {
    let responder: RouterResponder<GatewayRequestContext>
    let serverName: String
    let date: DateHeader
    let logger: Logger

    /// - Parameter arrival: when the request had arrived.
    func answer(
        _ request: Request, on connection: ClientConnection, since arrival: ContinuousClock.Instant
    ) async {
        let isHead = request.method == .head
        do {
            let source = RequestSource(connection: connection, arrival: arrival, logger: logger)
            var response = try await respond(to: request, from: source)
            response.headers[.date] = date.now
            response.headers[.server] = serverName
            let body = response.body
            if isHead || body.contentLength == 0 { return try connection.finish([.head(response.head), .end(nil)]) }
            try await body.write(
                AnswerWriter(
                    connection: connection, isStreamed: body.contentLength == nil, unsent: [.head(response.head)]))
        } catch {
            logger.trace("an answer was cut off", metadata: ["error": "\(error)"])
            // The client must not take it for whole.
            connection.channel.close(promise: nil)
        }
    }

    private func respond(to request: Request, from source: RequestSource) async throws -> Response {
        do {
            return try await WaitLedger.$current.withValue(request.method == .post ? WaitLedger() : nil) {
                try await responder.respond(to: request, context: GatewayRequestContext(source: source))
            }
        } catch let error as CancellationError {
            throw error
        } catch {
            logger.error("a request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return APIError.failure.response
        }
    }
}

/// Sends a response's body: a streamed one write by write, any other with its head in one go.
private struct AnswerWriter: ResponseBodyWriter {
    let connection: ClientConnection
    let isStreamed: Bool
    var unsent: [HTTPResponsePart]

    mutating func write(_ buffer: ByteBuffer) async throws {
        unsent.append(.body(buffer))
        guard isStreamed else { return }
        let parts = unsent
        unsent = []
        try await connection.send(parts)
    }

    consuming func finish(_ trailers: HTTPFields?) async throws {
        try connection.finish(unsent + [.end(trailers)])
    }
}
