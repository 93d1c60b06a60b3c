import ChatCore
import Hummingbird
import RedisStore
import ServiceKit

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
    /// Header fields that say what would be accepted.
    var advice: HTTPFields = [:]

    static func invalid(_ field: String, _ message: String) -> APIError {
        APIError(status: .badRequest, code: "invalid_request", message: "\(field) \(message)", field: field)
    }

    /// What came is no HTTP, or no request.
    static let malformedRequest = APIError(
        status: .badRequest, code: "invalid_request", message: "this is no HTTP request")

    static let headersTooLarge = APIError(
        status: .requestHeaderFieldsTooLarge, code: "too_large", message: "the request's header fields are too large")

    /// A request whose head came and whose body did not.
    static let bodyTooSlow = APIError(
        status: .requestTimeout, code: "timeout", message: "the request's body did not arrive in time")

    /// The decoder does not say whether what it stops at was meant as a method.
    static let unknownMethod = APIError(
        status: .badRequest, code: "invalid_request",
        message: "this is no HTTP request, or one of a method that is not known here")

    static func unknownTransferCoding(_ coding: String) -> APIError {
        APIError(
            status: .notImplemented, code: "not_implemented",
            message: "Transfer-Encoding may be chunked and nothing else, and \(coding) is not",
            field: "Transfer-Encoding")
    }

    /// Something that nobody foresaw.
    static let failure = APIError(
        status: .internalServerError, code: "internal", message: "the request failed; the log says why")

    static func methodNotAllowed(_ allowed: String) -> APIError {
        APIError(
            status: .methodNotAllowed, code: "method_not_allowed", message: "this path takes \(allowed)",
            advice: [.allow: allowed])
    }

    static let unsupportedCoding = APIError(
        status: .unsupportedMediaType, code: "unsupported_encoding",
        message: "a body may be as it is, or of one Content-Encoding: \(ContentCoding.accepted)",
        field: "Content-Encoding", advice: [.acceptEncoding: ContentCoding.accepted])

    static let unknownExpectation = APIError(
        status: .expectationFailed, code: "invalid_request", message: "Expect may be 100-continue", field: "Expect")

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

    /// Redis did not do what was asked of it: it is away, or answers and takes no writes.
    static func redis(_ error: any Error) -> APIError {
        guard (error as? RedisError)?.isOfWritesAlone == true else { return unavailable("Redis") }
        return APIError(
            status: .serviceUnavailable, code: "unavailable",
            message: "Redis answers and refuses writes; try again",
            retryAfter: .seconds(2))
    }

    /// As much long computation waits here as may.
    static let busy = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "this gateway has as much to compute as it can hold; try again", retryAfter: .seconds(2))

    /// Bodies that are not read to their end yet, or whose turns are not accepted, fill what there is for them.
    static let tooManyBodies = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "this gateway, or this key, has as many bytes of requests in hand as it may; try again",
        retryAfter: .seconds(2))

    static let draining = APIError(
        status: .serviceUnavailable, code: "unavailable", message: "this gateway is shutting down; try again",
        retryAfter: .seconds(1))

    static let tooManyReaders = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "this gateway follows as many turns as it can; try again", retryAfter: .seconds(2))

    static func tooManyReadersOfKey(_ limit: Int) -> APIError {
        APIError(
            status: .serviceUnavailable, code: "unavailable",
            message: "this key follows as many turns at this gateway as one may, \(limit)", retryAfter: .seconds(2))
    }

    static func tooManyReadersOfTurn(_ limit: Int) -> APIError {
        APIError(
            status: .tooManyRequests, code: "rate_limited",
            message: "this turn is followed by \(limit) clients at this gateway", retryAfter: .seconds(5))
    }

    static let tooManyAskers = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "the queues are being looked at for others; try again", retryAfter: .seconds(1))

    static let tooManyLookups = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "too many of this tenant's turns are being looked up; try again", retryAfter: .seconds(1))

    /// The turn goes on or has ended, and nobody can say which yet.
    static let logLost = APIError(
        status: .serviceUnavailable, code: "unavailable",
        message: "the turn's log was lost and has not been written again; try again", retryAfter: .seconds(2))

    /// A turn that ended without an answer. What the request itself is the cause of is no 502: clients repeat those.
    static func failed(_ failure: TurnFailure) -> APIError {
        switch failure.code {
        case .contextLengthExceeded:
            APIError(
                status: .badRequest, code: failure.code.rawValue, message: failure.message, field: "message")
        case .turnFailed: APIError(status: .badGateway, code: failure.code.rawValue, message: failure.message)
        }
    }

    static let turnCancelled = APIError(
        status: .conflict, code: "turn_cancelled",
        message: "the turn was cancelled; GET /stream/{correlation_id} has what it had said")

    var response: Response {
        var headers = advice
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
        } catch is WorkPool.Full {
            return APIError.busy.response
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
        case .contentTooLarge: APIError(status: status, code: "too_large", message: "the body is too large")
        default: APIError(status: status, code: "invalid_request", message: status.reasonPhrase)
        }
    }
}
