import Hummingbird

/// Every error of the API: one shape, `{"error":{"code","message","field"?}}`.
struct APIError: Error, Equatable {
    let status: HTTPResponse.Status
    /// A word for programs.
    let code: String
    /// A sentence for people.
    let message: String
    /// The field of the request that is at fault.
    var field: String?
    var retryAfter: Duration?

    static func invalid(_ field: String, _ message: String) -> APIError {
        APIError(status: .badRequest, code: "invalid_request", message: "\(field) \(message)", field: field)
    }

    /// What came is no HTTP, or no request.
    static let malformedRequest = APIError(
        status: .badRequest, code: "invalid_request", message: "this is no HTTP request")

    static let headersTooLarge = APIError(
        status: .requestHeaderFieldsTooLarge, code: "too_large", message: "the request's header fields are too large")

    /// Something that nobody foresaw.
    static let failure = APIError(
        status: .internalServerError, code: "internal", message: "the request failed; the log says why")

    static let unauthorized = APIError(
        status: .unauthorized, code: "unauthorized", message: "the header X-API-Key is missing or holds no valid key")

    static let unknownTurn = APIError(
        status: .notFound, code: "not_found", message: "there is no turn with this id")

    static let unknownConversation = APIError(
        status: .notFound, code: "not_found", message: "this user has no conversation with this conversation_id",
        field: "conversation_id")

    static func tooManyRequests(_ message: String, retryAfter: Duration) -> APIError {
        APIError(status: .tooManyRequests, code: "rate_limited", message: message, retryAfter: retryAfter)
    }

    /// A turn that would wait longer for its first token than its key's tier allows.
    static func overloaded(estimate: Duration, retryAfter: Duration) -> APIError {
        let seconds = max(1, Int((estimate / .seconds(1)).rounded()))
        return APIError(
            status: .serviceUnavailable, code: "overloaded",
            message: "the first token would take about \(seconds) s; come back when Retry-After says",
            retryAfter: retryAfter)
    }

    static func unavailable(_ component: String) -> APIError {
        APIError(
            status: .serviceUnavailable, code: "unavailable", message: "\(component) cannot be reached; try again",
            retryAfter: .seconds(2))
    }

    static let draining = APIError(
        status: .serviceUnavailable, code: "unavailable", message: "this gateway is shutting down; try again",
        retryAfter: .seconds(1))

    static let tooManyReaders = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "this gateway follows as many turns as it can; try again", retryAfter: .seconds(2))

    /// The turn goes on or has ended, and nobody can say which yet.
    static let logLost = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "the turn's log was lost and has not been written again; try again", retryAfter: .seconds(2))

    /// A turn that ended without an answer.
    static func turnFailed(_ reason: String) -> APIError {
        APIError(status: .badGateway, code: "turn_failed", message: reason)
    }

    static let turnCancelled = APIError(
        status: .conflict, code: "turn_cancelled", message: "the turn was cancelled before it had an answer")

    var response: Response {
        var headers: HTTPFields = [:]
        // Rounded up: a client that waits for what it was told must not come too early.
        if let retryAfter { headers[.retryAfter] = String(max(1, Int((retryAfter / .seconds(1)).rounded(.up)))) }
        return Response(status: status, json: json, headers: headers)
    }

    /// `{"error":{…}}`.
    var json: JSON {
        var error: [(String, JSON)] = [("code", .string(code)), ("message", .string(message))]
        if let field { error.append(("field", .string(field))) }
        return .object([("error", .object(error))])
    }
}

/// Turns whatever a route throws into the API's one shape.
struct ErrorMiddleware<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as APIError {
            return error.response
        } catch let error as any HTTPResponseError {
            return APIError.of(error.status).response
        } catch is CancellationError {
            throw CancellationError()  // the client has left: there is nobody to answer
        } catch {
            context.logger.error("a request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return APIError.failure.response
        }
    }
}

extension APIError {
    /// What the HTTP library refused by itself.
    fileprivate static func of(_ status: HTTPResponse.Status) -> APIError {
        switch status {
        case .notFound: APIError(status: status, code: "not_found", message: "there is no such path")
        case .methodNotAllowed: APIError(status: status, code: "method_not_allowed", message: "not with this method")
        case .contentTooLarge: APIError(status: status, code: "too_large", message: "the body is too large")
        default: APIError(status: status, code: "invalid_request", message: status.reasonPhrase)
        }
    }
}
