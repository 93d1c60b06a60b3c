import Foundation
import Hummingbird
import PostgresStore
import RabbitQueue
import ServiceKit

/// What operators and load balancers ask: is it well, and what waits.
struct OperatorRoutes: Sendable {
    let health: HealthMonitor
    let inspector: QueueInspector
    let breakers: [DependencyBreaker]
    let shards: [String]
    let redis: RedisRoom
    /// How many may ask for the queues at a time.
    let askers = Turnstile(places: 8)

    /// Adds `GET` and `HEAD` of `/health`.
    func addHealth(to router: some RouterMethods<some RequestContext>) {
        for method in [HTTPRequest.Method.get, .head] {
            router.on("/health", method: method) { _, _ in healthStatus() }
        }
    }

    /// Open to anyone who can connect: probes carry no keys, and it says nothing but states and numbers of processes.
    func healthStatus() -> Response {
        let components = health.snapshot
        let isWell = components.allSatisfy { $0.state == .up }
        let status = isWell ? "healthy" : components.allSatisfy { $0.state == .down } ? "down" : "degraded"
        return Response(
            status: isWell ? .ok : .serviceUnavailable,
            json: .object([
                ("status", .string(status)),
                ("components", .object(components.map { ($0.name, .string($0.state.rawValue)) })),
                ("breakers", .object(breakers.map { ($0.name, .string($0.state.rawValue)) })),
                ("alive", .object(health.alive.map { ($0.name, $0.count.map { .integer(Int64($0)) } ?? .null) })),
                (
                    "redis_memory",
                    .object([
                        ("share", redis.share.map { .number(($0 * 1000).rounded() / 1000) } ?? .null),
                        ("new_turns", .string(redis.isFull ? "refused" : "accepted")),
                    ])
                ),
                ("timestamp", .number((Date().timeIntervalSince1970 * 1000).rounded() / 1000)),
            ]))
    }

    @Sendable func queueStatistics(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
        let responses = shards.map { Topology.responseQueue(shard: $0) }
        let others = [
            Topology.chatQueue, Topology.streamQueue, Topology.batchQueue, Topology.jobQueue, Topology.deadLetterQueue,
        ]
        guard askers.enter() else { throw APIError.tooManyAskers }
        defer { askers.leave() }
        let statistics: [String: (messages: Int, consumers: Int)]
        do throws(RabbitError) {
            statistics = try await inspector.statistics(of: others + responses)
        } catch {
            throw APIError.unavailable("the message broker")
        }
        func entry(_ name: String, _ queues: [String]) -> (String, JSON) {
            let found = queues.compactMap { statistics[$0] }
            return (
                name,
                .object([
                    ("message_count", .integer(Int64(found.reduce(0) { $0 + $1.messages }))),
                    ("consumer_count", .integer(Int64(found.reduce(0) { $0 + $1.consumers }))),
                ])
            )
        }
        var entries = others.map { entry($0, [$0]) }
        entries.insert(entry("response_queue", responses), at: 2)
        return Response(json: .object(entries))
    }
}
