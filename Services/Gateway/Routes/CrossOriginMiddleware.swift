import HTTPTypes
import Hummingbird

/// Whose pages may call the API from a browser (the CORS protocol, WHATWG Fetch, section 3.2). Nobody's by default.
struct AllowedOrigins: Equatable {
    private let origins: Set<String>
    private let isAny: Bool

    /// - Parameter text: origins such as `https://chat.example`, with commas between, or `*`.
    init(_ text: String?) {
        let names = (text ?? "").split(separator: ",").map { $0.filter { !$0.isWhitespace } }.filter { !$0.isEmpty }
        isAny = names.contains("*")
        origins = Set(names)
    }

    var isNone: Bool { origins.isEmpty }

    /// The value of Access-Control-Allow-Origin for a request from `origin`; nil when its pages may not.
    func answer(to origin: String) -> String? { isAny ? "*" : origins.contains(origin) ? origin : nil }
}

/// Answers preflights, which carry no key, and says of every other answer to whose pages the browser may give it.
struct CrossOriginMiddleware<Context: RequestContext>: RouterMiddleware {
    let origins: AllowedOrigins

    private static var requestHeaders: String {
        "X-API-Key, Content-Type, Content-Encoding, Idempotency-Key, Last-Event-ID, traceparent, tracestate"
    }
    private static var answerHeaders: String {
        "X-Correlation-ID, X-Trace-Id, X-Ignored-Fields, Idempotent-Replayed, Retry-After, Server-Timing"
    }
    /// Seconds for which a browser may keep the answer to a preflight.
    private static var lifetime: String { "600" }

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard !origins.isNone, let origin = request.headers[.origin] else { return try await next(request, context) }
        guard let allowed = origins.answer(to: origin) else {
            var response = try await next(request, context)
            response.headers[.vary] = "Origin"
            return response
        }
        if request.method == .options, request.headers[.accessControlRequestMethod] != nil,
            let methods = Endpoints.methods(of: request.uri.path)
        {
            return Response(
                status: .noContent,
                headers: [
                    .accessControlAllowOrigin: allowed, .vary: "Origin",
                    .accessControlAllowMethods: methods.map(\.rawValue).joined(separator: ", "),
                    .accessControlAllowHeaders: CrossOriginMiddleware.requestHeaders,
                    .accessControlMaxAge: CrossOriginMiddleware.lifetime,
                ])
        }
        var response = try await next(request, context)
        response.headers[.accessControlAllowOrigin] = allowed
        response.headers[.accessControlExposeHeaders] = CrossOriginMiddleware.answerHeaders
        response.headers[.vary] = "Origin"
        return response
    }
}
