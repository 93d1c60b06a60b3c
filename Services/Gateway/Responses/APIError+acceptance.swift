import Hummingbird

extension APIError {
    static let keyReused = APIError(
        status: .unprocessableContent, code: "idempotency_key_reused",
        message: "this Idempotency-Key was used for another request in the last 24 hours", field: "Idempotency-Key")

    /// The turn of an earlier request is just being accepted, or just ending.
    static let keyInUse = APIError(
        status: .conflict, code: "idempotency_key_in_use",
        message: "an earlier request with this Idempotency-Key is still under way; try again", field: "Idempotency-Key",
        retryAfter: .seconds(2))

    /// What was accepted before has to be stored first.
    static func backlogged(_ message: String, retryAfter: Duration) -> APIError {
        APIError(status: .serviceUnavailable, code: "overloaded", message: message, retryAfter: retryAfter)
    }
}
