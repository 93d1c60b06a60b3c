import Foundation
import Logging
import ServiceKit
import Synchronization

/// A pool for long computation that is full, in both lanes, until it is let go: a thread of each stands before a gate,
/// and as much waits for it as may.
public final class FullPool: Sendable {
    public let pool = WorkPool(heavyThreads: 1, capacity: 1)
    private let gates = [DispatchSemaphore(value: 0), DispatchSemaphore(value: 0)]

    /// More than is done in place.
    public static let large = WorkPool.lightBytes + 1

    public init() async {
        for (gate, bytes) in zip(gates, [WorkPool.inPlaceBytes + 1, FullPool.large]) {
            let (entered, entry) = AsyncStream<Void>.makeStream()
            Task { [pool] in
                try await pool.run(bytes: bytes) { _ in
                    entry.yield()
                    gate.wait()
                }
            }
            for await _ in entered { break }
            // Of two that would wait one finds no room, whichever comes first.
            let (refusals, refusal) = AsyncStream<Void>.makeStream()
            for _ in 0..<2 {
                Task { [pool] in
                    do { try await pool.run(bytes: bytes) { _ in } } catch { refusal.yield() }
                }
            }
            for await _ in refusals { break }
        }
    }

    deinit { openGates() }

    /// Returns when there is room.
    public func letGo() async {
        openGates()
        for bytes in [WorkPool.inPlaceBytes + 1, FullPool.large] {
            while (try? await pool.run(bytes: bytes) { _ in }) == nil { try? await Task.sleep(for: .milliseconds(1)) }
        }
    }

    private func openGates() { for gate in gates { gate.signal() } }

    /// Begins work, and lets go once it was tried again three times, or has ended.
    /// - Parameter work: is to log with the logger.
    /// - Returns: how often it was tried again while the pool was full.
    public func delaying<Result: Sendable>(
        _ work: @escaping @Sendable (WorkPool, Logger) async throws -> Result
    ) async throws -> (result: Result, tries: Int) {
        let tries = Tries()
        let task = Task { [pool] in
            defer { tries.end() }
            return try await work(pool, Logger(label: "test") { _ in tries })
        }
        await tries.reach(3)
        let count = tries.count
        await letGo()
        return (try await task.value, count)
    }
}

/// Counts the steps that are tried again, as a log says it.
private struct Tries: LogHandler {
    private final class Lines: Sendable {
        let count = Mutex(0)
        let news = AsyncStream<Void>.makeStream()
    }

    private let lines = Lines()
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    var count: Int { lines.count.withLock { $0 } }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        guard "\(event.message)" == "a step is tried again" else { return }
        lines.count.withLock { $0 += 1 }
        lines.news.continuation.yield()
    }

    func end() { lines.news.continuation.finish() }

    /// Returns also when there is nothing more to come.
    func reach(_ number: Int) async {
        for await _ in lines.news.stream where count >= number { return }
    }
}
