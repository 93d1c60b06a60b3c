import ChatCore
import HTTPTypes
import Hummingbird
import ServiceKit

/// The answers that more than one path of a turn gives.
extension Response {
    /// A turn's whole answer.
    /// - Parameter time: what the client is told as `processing_time`.
    /// - Throws: `APIError` for a turn that failed or was cancelled; `WorkPool.Full`, `CancellationError`.
    static func answer(
        _ text: String, _ end: TurnEnd, time: Duration, turn: TurnID, on pool: WorkPool
    ) async throws -> Response {
        switch end.status {
        case .done: break
        case .failed: throw APIError.failed(TurnFailure(error: end.error ?? "the turn failed"))
        case .cancelled: throw APIError.turnCancelled
        }
        var members: [(String, JSON)] = [
            ("response", .string(text)), ("conversation_id", .integer(end.conversation.value)),
            ("processing_time", .number((time / .milliseconds(1)).rounded() / 1000)),
        ]
        if let degradation = end.degradation { members.append(("degradation", .degradation(degradation))) }
        let json = JSON.object(members)
        let written = try await pool.run(bytes: text.utf8.count) { _ in json.text }
        return Response(json: written, headers: .correlation(turn))
    }

    /// 202: the turn goes on.
    static func processing(_ id: TurnID) -> Response {
        Response(
            status: .accepted,
            json: .object([
                ("status", .string("processing")), ("message", .string("ask for the answer at check_endpoint")),
                ("correlation_id", .string(id.description)), ("check_endpoint", .string("/check-response/\(id)")),
            ]), headers: .correlation(id))
    }

    /// What became of a turn whose end was asked for.
    static func cancellation(of id: TurnID, status: String) -> Response {
        Response(
            status: status == "cancelling" ? .accepted : .ok,
            json: .object([("status", .string(status)), ("correlation_id", .string(id.description))]),
            headers: .correlation(id))
    }

    /// Watching a connection for its end uses it up: it closes after this response, and the client is told so.
    func closingConnection() -> Response {
        var response = self
        response.headers[.connection] = "close"
        return response
    }
}

extension HTTPFields {
    static func correlation(_ id: TurnID) -> HTTPFields {
        guard let name = HTTPField.Name("X-Correlation-ID") else { return [:] }
        return [name: id.description]
    }
}
