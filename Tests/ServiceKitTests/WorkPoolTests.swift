import Foundation
import ServiceKit
import Synchronization
import Testing

/// Holds a thread until it is opened.
private final class Gate: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    private let entered = AsyncStream<Void>.makeStream()

    func pass() {
        entered.continuation.yield()
        semaphore.wait()
    }

    /// Returns when somebody stands before the gate.
    func isEntered() async { for await _ in entered.stream { return } }
    func open() { semaphore.signal() }
}

@Suite struct WorkPoolTests {
    private let heavy = WorkPool.lightBytes + 1
    private let light = WorkPool.inPlaceBytes + 1

    @Test func whatIsUsualDoesNotWaitBehindWhatIsLarge() async throws {
        let pool = WorkPool(heavyThreads: 1)
        let gate = Gate()
        async let large: Void = pool.run(bytes: heavy) { _ in gate.pass() }
        await gate.isEntered()
        #expect(try await pool.run(bytes: light) { _ in 1 } == 1)
        #expect(try await pool.run(bytes: 1) { _ in 2 } == 2)
        gate.open()
        try await large
    }

    /// As much blocked work as there are cooperative threads, and more, stops none of them.
    @Test func theCooperativeThreadsStayFreeWhileWorkBlocks() async throws {
        let cores = ProcessInfo.processInfo.activeProcessorCount
        let pool = WorkPool(heavyThreads: cores * 2)
        let gates = (0..<cores * 2).map { _ in Gate() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for gate in gates { group.addTask { try await pool.run(bytes: .max) { _ in gate.pass() } } }
            for gate in gates { await gate.isEntered() }
            // Other tasks run: this test would stand here for ever.
            for number in 0..<100 { #expect(await Task.detached { number }.value == number) }
            gates.forEach { $0.open() }
            try await group.waitForAll()
        }
    }

    @Test func workThatIsCancelledBeforeItBeginsIsNotDone() async throws {
        let pool = WorkPool(heavyThreads: 1)
        let gate = Gate()
        let isDone = Mutex(false)
        async let first: Void = pool.run(bytes: heavy) { _ in gate.pass() }
        await gate.isEntered()
        let second = Task { [heavy] in try await pool.run(bytes: heavy) { _ in isDone.withLock { $0 = true } } }
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        gate.open()
        try await first
        #expect(try await pool.run(bytes: heavy) { _ in isDone.withLock { $0 } } == false)
    }

    @Test func runningWorkSeesThatItIsCancelled() async throws {
        let pool = WorkPool(heavyThreads: 1)
        let gate = Gate()
        let task = Task { [heavy] in
            try await pool.run(bytes: heavy) { ticket in
                gate.pass()
                try ticket.check()
            }
        }
        await gate.isEntered()
        task.cancel()
        gate.open()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func aFullLaneRefuses() async throws {
        let pool = WorkPool(heavyThreads: 1, capacity: 1)
        let gate = Gate()
        async let running: Void = pool.run(bytes: heavy) { _ in gate.pass() }
        await gate.isEntered()
        // Of two that would wait one finds no room, whichever comes first; the other is done at the end.
        let (heavy, refused) = (heavy, AsyncStream<Void>.makeStream())
        let others = (0..<2).map { _ in
            Task {
                do { try await pool.run(bytes: heavy) { _ in } } catch is WorkPool.Full {
                    refused.continuation.yield()
                    return false
                }
                return true
            }
        }
        for await _ in refused.stream { break }
        gate.open()
        try await running
        var done = 0
        for other in others where try await other.value { done += 1 }
        #expect(done == 1)
    }

    @Test func errorsComeBack() async {
        struct Failure: Error {}
        let pool = WorkPool(heavyThreads: 1)
        await #expect(throws: Failure.self) { try await pool.run(bytes: Int.max) { _ -> Int in throw Failure() } }
    }
}
