import Hummingbird

@testable import gateway

/// Every request is of tenant `acme`, under key `k`.
struct Owner: RouterMiddleware {
    func handle(
        _ request: Request, context: GatewayRequestContext,
        next: (Request, GatewayRequestContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.principal = Principal(tenant: "acme", keyID: "k")
        return try await next(request, context)
    }
}
