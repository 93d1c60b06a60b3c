import Hummingbird
import Metrics
import ServiceKit
import Synchronization

/// Counts requests by route and status, and measures the time until their answers begin.
///
/// By the route's pattern and never by what a client wrote: paths and methods of its invention would be series without
/// end.
struct RequestMetrics<Context: RequestContext>: RouterMiddleware {
    private let routes = RouteMetrics()

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        let response = try await next(request, context)
        routes.answered(
            context.endpointPath ?? "other", status: Int(response.status.code), in: start.duration(to: .now))
        return response
    }
}

/// The metrics of each route, made when its first request comes.
private final class RouteMetrics: Sendable {
    private struct Route {
        let time: Timer
        /// By status.
        var requests: [Int: Counter] = [:]
    }

    private let routes = Mutex<[String: Route]>([:])

    func answered(_ route: String, status: Int, in duration: Duration) {
        let (time, requests) = routes.withLock { routes in
            if let known = routes[route], let requests = known.requests[status] { return (known.time, requests) }
            let requests = Measures.requests(route, String(status))
            routes[route, default: Route(time: Measures.requestTime(route))].requests[status] = requests
            return (routes[route]?.time ?? Measures.requestTime(route), requests)
        }
        requests.increment()
        time.record(duration: duration)
    }
}
