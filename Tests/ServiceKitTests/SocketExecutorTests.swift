import Foundation
import ServiceKit
import Testing

/// An actor as the stores' are: its jobs, its socket and its timers all on one thread.
private actor Echo {
    nonisolated let executor: SocketExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private var received: [UInt8] = []
    private var waiting: CheckedContinuation<[UInt8], Never>?
    private var expected = 0

    init(executor: SocketExecutor) { self.executor = executor }

    func watch(_ descriptor: Int32) {
        executor.watch(descriptor, for: .readable) { [weak self] _ in
            self?.assumeIsolated { $0.take(from: descriptor) }
        }
    }

    func unwatch(_ descriptor: Int32) { executor.unwatch(descriptor) }

    func bytes(_ count: Int) async -> [UInt8] {
        expected = count
        return await withCheckedContinuation { continuation in
            waiting = continuation
            deliver()
        }
    }

    func after(_ delay: Duration) async -> Bool {
        await withCheckedContinuation { continuation in
            executor.schedule(after: delay) { continuation.resume(returning: true) }
        }
    }

    private func take(from descriptor: Int32) {
        var byte: UInt8 = 0
        if read(descriptor, &byte, 1) == 1 { received.append(byte) }
        deliver()
    }

    private func deliver() {
        guard received.count >= expected, let continuation = waiting else { return }
        waiting = nil
        continuation.resume(returning: received)
    }
}

@Suite struct SocketExecutorTests {
    @Test func jobsAndSocketShareOneThread() async {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        let executor = SocketExecutor(name: "echo")
        let echo = Echo(executor: executor)
        await echo.watch(ends[0])
        let writer = ends[1]
        Thread.detachNewThread {
            for byte in [UInt8](1...5) { withUnsafePointer(to: byte) { _ = write(writer, $0, 1) } }
        }
        #expect(await echo.bytes(5) == [1, 2, 3, 4, 5])
        await echo.unwatch(ends[0])
        executor.shutDown()
        ends.forEach { close($0) }
    }

    @Test func timersFireWhileNothingElseHappens() async {
        let executor = SocketExecutor(name: "timer")
        #expect(await Echo(executor: executor).after(.milliseconds(5)))
        executor.shutDown()
    }

    @Test func manyJobsFromManyTasksAllRun() async {
        actor Counter {
            nonisolated let executor: SocketExecutor
            nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
            var count = 0
            init(executor: SocketExecutor) { self.executor = executor }
            func increment() { count += 1 }
        }
        let executor = SocketExecutor(name: "counter")
        let counter = Counter(executor: executor)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<1000 { group.addTask { await counter.increment() } }
        }
        #expect(await counter.count == 1000)
        executor.shutDown()
    }
}

@Suite struct BackoffTests {
    @Test func growsToItsCapAndNeverBelowItsBase() {
        /// Any generator with a seed: the bounds hold for all of them.
        struct Seeded: RandomNumberGenerator {
            var state: UInt64
            mutating func next() -> UInt64 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return state ^ state >> 29
            }
        }
        var random = Seeded(state: 1)
        var largest: [Duration] = Array(repeating: .zero, count: 8)
        for _ in 0..<200 {
            var backoff = Backoff(base: .milliseconds(10), cap: .milliseconds(100))
            for attempt in largest.indices {
                let delay = backoff.next(using: &random)
                #expect(delay >= .milliseconds(10) && delay <= min(.milliseconds(100), .milliseconds(20 << attempt)))
                largest[attempt] = max(largest[attempt], delay)
            }
        }
        // The jitter uses the whole room, at the first attempt already: there all meet who lost the same server.
        #expect(largest[0] > .milliseconds(19) && largest[7] > .milliseconds(95))
    }
}
