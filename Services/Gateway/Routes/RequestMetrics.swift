import Hummingbird
import Metrics
import ServiceKit

/// Counts requests by route and status, and measures the time until their answers begin.
///
/// By the route's pattern and never by what a client wrote: paths and methods of its invention would be series without
/// end.
struct RequestMetrics<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        let response = try await next(request, context)
        let route = context.endpointPath ?? "other"
        Measures.requests(route, String(response.status.code)).increment()
        Measures.requestTime(route).record(duration: ContinuousClock.now - start)
        return response
    }
}
