import ChatCore
import HTTPTypes
import Hummingbird
import TraceKit
import Tracing

/// Makes a request part of its client's trace, or begins one, and says its id in the answer. Without a tracer a client's
/// trace is only passed on.
///
/// The span of a request names its route and never its query: a client may have put anything there.
struct TraceMiddleware: RouterMiddleware {
    let tracer: SpanTracer?

    static let answerHeader = HTTPField.Name("X-Trace-Id")
    private static let parentHeader = HTTPField.Name(TraceContext.parentName)
    private static let stateHeader = HTTPField.Name(TraceContext.stateName)
    /// What machines ask every few seconds.
    private static let untraced: Set<String> = ["/health", "/livez", "/readyz", "/metrics"]

    func handle(
        _ request: Request, context: GatewayRequestContext,
        next: (Request, GatewayRequestContext) async throws -> Response
    ) async throws -> Response {
        let client = TraceMiddleware.trace(of: request.headers)
        guard tracer != nil || client != nil, !TraceMiddleware.untraced.contains(request.uri.path) else {
            return try await next(request, context)
        }
        guard let tracer else {
            return try await ServiceContext.withValue(.under(client)) { try await next(request, context) }
        }
        let method = TraceMiddleware.name(of: request.method)
        let span = tracer.startSpan(method, context: .under(client), ofKind: .server)
        span.updateAttributes { attributes in
            attributes["http.request.method"] = method
            attributes["url.path"] = request.uri.path
            attributes["user_agent.original"] = request.headers[.userAgent]
            attributes["http.request.body.size"] = request.headers[.contentLength].flatMap { Int($0) }
        }
        do {
            var response = try await ServiceContext.withValue(span.context) { try await next(request, context) }
            if let route = context.endpointPath {
                span.operationName = "\(method) \(route)"
                span.updateAttributes { $0["http.route"] = route }
            }
            span.updateAttributes { $0["http.response.status_code"] = Int(response.status.code) }
            if response.status.kind == .serverError { span.fail("\(response.status.code)") }
            if let name = TraceMiddleware.answerHeader { response.headers[name] = "\(span.trace.trace)" }
            response.end(span)
            return response
        } catch {
            // A client that has left; errors have become answers further in.
            span.recordError(error)
            span.end()
            throw error
        }
    }

    private static func trace(of headers: HTTPFields) -> TraceContext? {
        guard let parentHeader, let parent = headers[parentHeader] else { return nil }
        return TraceContext(traceparent: parent, tracestate: stateHeader.flatMap { headers[$0] })
    }

    /// A method of a client's invention would be a name without end.
    private static func name(of method: HTTPRequest.Method) -> String {
        switch method {
        case .get, .head, .post, .put, .delete, .connect, .options, .trace, .patch: method.rawValue
        default: "_OTHER"
        }
    }
}

extension Response {
    /// Ends the request's span: now, or with the stream that the answer is.
    fileprivate mutating func end(_ span: RecordedSpan) {
        guard body.contentLength == nil, span.isRecording else { return span.end() }
        let body = body
        self.body = ResponseBody { writer in
            defer { span.end() }
            try await body.write(writer)
        }
    }
}
