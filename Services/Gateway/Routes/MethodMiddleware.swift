import HTTPTypes
import Hummingbird

/// Answers OPTIONS, and methods that a path does not have with 405: the router knows them as no path at all.
struct MethodMiddleware<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let methods = Endpoints.methods(of: request.uri.path), !methods.contains(request.method) else {
            return try await next(request, context)
        }
        let allowed = Endpoints.allowed(methods)
        guard request.method == .options else { throw APIError.methodNotAllowed(allowed) }
        return Response(status: .noContent, headers: [.allow: allowed])
    }
}
