import Hummingbird
import Metrics

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
        let route = ("route", context.endpointPath ?? "other")
        Counter(
            label: "switchboard_requests", dimensions: [route, ("status", String(response.status.code))]
        ).increment()
        let time = (ContinuousClock.now - start) / .nanoseconds(1)
        Timer(label: "switchboard_request_seconds", dimensions: [route]).recordNanoseconds(Int64(time))
        return response
    }
}
