import ChatCore
import Logging
import Metrics
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle

/// Looks at the queues and the kept dead letters from time to time, for the metrics. Every worker does: whoever reads
/// them takes one's word, and none needs to be the first.
struct QueueWatch: Service {
    private static let interval: Duration = .seconds(2)
    /// Looks at the queues for each count of the dead letters, which asks the directory.
    private static let looksPerCount = 8

    let queues: [String]
    let inspector: QueueInspector
    let loads: LoadDirectory
    let settled: [SettleMetrics]
    let letters: DeadLetterRepository
    let clock: RedisClock
    let logger: Logger

    func run() async throws {
        let kept = Measures.deadLettersKept()
        await cancelWhenGracefulShutdown {
            var gauges = queues.map { QueueGauges(queue: $0) }
            var looks = 0
            while !Task.isCancelled {
                do {
                    try await look(&gauges)
                    if looks % QueueWatch.looksPerCount == 0 { kept.record(try await letters.countWaiting()) }
                    looks += 1
                } catch {
                    // The gauges keep what was seen last; breakers say that somebody is away.
                    logger.debug("the queues cannot be looked at", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: QueueWatch.interval)
            }
        }
    }

    private func look(_ gauges: inout [QueueGauges]) async throws {
        let statistics = try await inspector.statistics(of: queues)
        let now = try await clock.now()
        var newest = Dictionary(
            settled.compactMap { shard in
                shard.newestDelivered.map { (Topology.responseQueue(shard: shard.shard), $0) }
            }
        ) { first, _ in first }
        for load in try await loads.loads() {
            newest.merge(load.newestDelivered ?? [:]) { max($0, $1) }
        }
        for index in gauges.indices {
            guard let (messages, consumers) = statistics[gauges[index].queue] else { continue }
            gauges[index].record(
                messages: messages, consumers: consumers, newestDelivered: newest[gauges[index].queue], at: now)
        }
    }
}

/// One queue's gauges.
private struct QueueGauges {
    let queue: String
    private let messages: Gauge
    private let consumers: Gauge
    private let age: Gauge
    private var oldest = QueueAge()

    init(queue: String) {
        self.queue = queue
        messages = Measures.queueMessages(queue)
        consumers = Measures.queueConsumers(queue)
        age = Measures.queueAge(queue)
    }

    mutating func record(messages: Int, consumers: Int, newestDelivered: Int64?, at now: Int64) {
        self.messages.record(messages)
        self.consumers.record(consumers)
        age.record(oldest.look(messages: messages, newestDelivered: newestDelivered, at: now))
    }
}
