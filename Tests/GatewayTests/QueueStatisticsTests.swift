import Foundation
import Hummingbird
import RabbitQueue
import RedisStore
import ServiceKit
import Synchronization
import TestServers
import Testing

@testable import gateway

/// Who asks how full the queues are, and how many may at a time.
@Suite(.timeLimit(.minutes(2))) struct QueueStatisticsTests {
    /// Many threads at the turnstile: never more inside than there are places, and every place comes back.
    @Test func noMoreAreInsideThanThereArePlaces() {
        let turnstile = Turnstile(places: 8)
        let inside = Atomic(0)
        let most = Atomic(0)
        let entered = Atomic(0)
        DispatchQueue.concurrentPerform(iterations: 64) { _ in
            for _ in 0..<2000 where turnstile.enter() {
                entered.add(1, ordering: .relaxed)
                most.max(inside.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
                inside.subtract(1, ordering: .relaxed)
                turnstile.leave()
            }
        }
        #expect(most.load(ordering: .relaxed) <= 8 && entered.load(ordering: .relaxed) > 0)
        let places = (0..<9).map { _ in turnstile.enter() }
        #expect(places == Array(repeating: true, count: 8) + [false])
    }

    private func withRoutes(_ body: (OperatorRoutes, Int, QueueInspector) async throws -> Void) async throws {
        let broker = try RabbitConfiguration(uri: await TestServers.rabbit().freshVirtualHost().uri)
        let inspector = QueueInspector(configuration: broker, logger: LiveServer.logger)
        let running = Task { try await inspector.run() }
        defer { running.cancel() }
        try #require(await inspector.waitUntilConnected(timeout: .seconds(60)))
        let redis = RedisPool(configuration: RedisConfiguration(port: 1), logger: LiveServer.logger)
        let routes = OperatorRoutes(
            health: HealthMonitor(components: [], logger: LiveServer.logger), inspector: inspector, breakers: [],
            shards: ["s0"], redis: RedisRoom(redis: redis, watermark: 90, logger: LiveServer.logger))
        let router = Router(context: GatewayRequestContext.self)
        router.add(middleware: ErrorMiddleware())
        router.get("/debug/queue-stats", use: routes.queueStatistics)
        try await LiveServer.run(router) { port, _ in try await body(routes, port, inspector) }
    }

    private func ask(_ port: Int) async throws -> String {
        try await LiveServer.exchange(
            port, "GET /debug/queue-stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    }

    @Test func beyondThePlacesTheAnswerIsLater() async throws {
        try await withRoutes { routes, port, _ in
            for _ in 0..<8 { #expect(routes.askers.enter()) }
            let refused = try await ask(port)
            #expect(refused.hasPrefix("HTTP/1.1 503") && refused.contains("being looked at for others"), "\(refused)")
            #expect(refused.lowercased().contains("retry-after: 1"))
            routes.askers.leave()
            let answered = try await ask(port)
            #expect(answered.hasPrefix("HTTP/1.1 200") && answered.contains("message_count"), "\(answered)")
        }
    }

    /// Whoever asks the broker for the health is not held up by them, and nobody is left inside.
    @Test func manyWhoAskAtOnceLeaveTheHealthAlone() async throws {
        try await withRoutes { routes, port, inspector in
            let statuses = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<200 { group.addTask { String(try await ask(port).prefix(12)) } }
                for _ in 0..<20 {
                    group.addTask {
                        try await inspector.ping()
                        return "ping"
                    }
                }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(statuses.isSubset(of: ["HTTP/1.1 200", "HTTP/1.1 503", "ping"]))
            #expect(statuses.isSuperset(of: ["HTTP/1.1 200", "ping"]))
            let places = (0..<9).map { _ in routes.askers.enter() }
            #expect(places == Array(repeating: true, count: 8) + [false])
        }
    }
}
