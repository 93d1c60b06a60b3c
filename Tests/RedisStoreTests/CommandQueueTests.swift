import Foundation
import Synchronization
import Testing

@testable import RedisStore

/// The bytes that callers leave for a socket that takes a little at a time.
@Suite struct CommandQueueTests {
    /// A socket that takes `room` bytes at a time and is full then. It counts the bytes that were moved in memory: those that
    /// it is offered at another place than where it stopped.
    private final class NarrowSocket: Sendable {
        private struct State {
            var taken: [UInt8] = []
            var isFull = false
            /// Where the byte stands that is due next, if it stays where it is.
            var due: UInt = 0
            var moved = 0
        }

        private let room: Int
        private let state = Mutex(State())

        init(room: Int) { self.room = room }

        var taken: [UInt8] { state.withLock { $0.taken } }
        var moved: Int { state.withLock { $0.moved } }

        func send(_ bytes: UnsafeRawBufferPointer) -> Int {
            state.withLock { state in
                defer { state.isFull.toggle() }
                guard !state.isFull else {
                    errno = EAGAIN
                    return -1
                }
                let place = UInt(bitPattern: bytes.baseAddress)
                if place != state.due { state.moved += bytes.count }
                let count = min(room, bytes.count)
                state.taken += bytes.prefix(count)
                state.due = place + UInt(count)
                return count
            }
        }
    }

    /// 8 MiB through a socket that takes 64 KiB at a time: it is full 128 times, and what is left stays where it is. To cut the
    /// rest off each time would move 516 MiB.
    @Test func whatAFullSocketLeavesIsNotMoved() {
        let socket = NarrowSocket(room: 64 << 10)
        let queue = CommandQueue(maximumPending: 10, maximumUnsentBytes: 64 << 20) { _, bytes in socket.send(bytes) }
        let full = Collector<UInt64>()
        queue.open(3) { full.add($0) }
        queue.becomeReady()
        let large = (0..<8 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 12) }
        queue.submit(large, replies: 1, timeout: .seconds(60)) { _ in }
        // Comes while the large one is under way, and stays behind it.
        let small = Array("PING\r\n".utf8)
        queue.submit(small, replies: 1, timeout: .seconds(60)) { _ in }
        var rounds = 0
        while rounds < min(full.all.count, 1000) {
            queue.write(full.all[rounds])
            rounds += 1
        }
        #expect(socket.taken == large + small)
        #expect(rounds >= 128)
        // Each of the two commands was brought to the socket once.
        #expect(socket.moved <= large.count + small.count, "\(socket.moved) bytes were moved")
        queue.close("the test is over", at: .now)
    }

    /// A connection that breaks while a rest is kept: nothing of it reaches the next one.
    @Test func aRestEndsWithItsConnection() {
        let socket = NarrowSocket(room: 10)
        let queue = CommandQueue(maximumPending: 10, maximumUnsentBytes: 1 << 20) { _, bytes in socket.send(bytes) }
        queue.open(3) { _ in }
        queue.becomeReady()
        queue.submit([UInt8](repeating: 1, count: 100), replies: 1, timeout: .seconds(60)) { _ in }
        #expect(socket.taken == [UInt8](repeating: 1, count: 10))
        queue.close("it broke", at: .now)
        queue.open(4) { _ in }
        queue.becomeReady()
        // What was to be written for the first connection is not for this one.
        queue.write(1)
        queue.submit([2], replies: 1, timeout: .seconds(60)) { _ in }
        #expect(socket.taken == [UInt8](repeating: 1, count: 10) + [2])
        queue.close("the test is over", at: .now)
    }
}
