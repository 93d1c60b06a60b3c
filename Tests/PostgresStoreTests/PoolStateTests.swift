import ServiceKit
import Testing

@testable import PostgresStore

@Suite struct PoolStateTests {
    private final class Connection {}
    private typealias State = PoolState<Connection>
    private let start = ContinuousClock.now
    private let failure = DatabaseError.unavailable(shard: "s", reason: "refused")

    private func state(size: Int = 2, maximumWaiters: Int = 3) -> State {
        State(
            size: size, maximumWaiters: maximumWaiters, backoff: Backoff(base: .seconds(1), cap: .seconds(1)))
    }

    /// What an acquisition says, in a form that compares.
    private func acquire(_ state: inout State, _ waiter: UInt64, after delay: Duration = .zero) -> String {
        switch state.acquire(waiter, now: start + delay) {
        case .lend: "lend"
        case .wait(let connects): connects ? "connect" : "wait"
        case .refuse(.closed): "closed"
        case .refuse(.overloaded): "overloaded"
        case .refuse(.away): "away"
        }
    }

    @Test func connectsUpToItsSizeThenWaitsThenRefuses() {
        var state = state()
        let outcomes = (1...6).map { acquire(&state, $0) }
        #expect(outcomes == ["connect", "connect", "wait", "overloaded", "overloaded", "overloaded"])
        #expect(state.open == 2)
    }

    @Test func servesWaitersInTheOrderTheyCame() {
        var state = state(size: 1)
        for waiter in 1...3 { _ = acquire(&state, UInt64(waiter)) }
        let leaves = [state.leave(2), state.leave(2)]
        #expect(leaves == [true, false])
        let connection = Connection()
        guard case .hand(to: 1) = state.connected(connection, now: start) else { return #expect(Bool(false)) }
        guard case .hand(to: 3) = state.release(connection, now: start) else { return #expect(Bool(false)) }
        guard case .keep = state.release(connection, now: start) else { return #expect(Bool(false)) }
        let outcome2 = acquire(&state, 9)
        #expect(outcome2 == "lend")
    }

    @Test func aServerThatIsAwayIsAskedAgainOnlyAfterABackoff() {
        var state = state(size: 1)
        _ = acquire(&state, 1)
        _ = acquire(&state, 2)
        let outcome3 = state.connectFailed(failure, now: start)
        #expect(outcome3 == [1, 2])
        let outcome4 = acquire(&state, 3)
        #expect(outcome4 == "away")
        let outcome5 = state.reconnects(now: start)
        #expect(!outcome5)
        let outcome6 = acquire(&state, 4, after: .seconds(2))
        #expect(outcome6 == "connect")
        #expect(state.open == 1)
    }

    @Test func aFailedAttemptFailsNobodyWhileAnotherConnectionWorks() {
        var state = state()
        _ = acquire(&state, 1)
        _ = state.connected(Connection(), now: start)
        let outcome7 = acquire(&state, 2)
        #expect(outcome7 == "connect")
        let outcome8 = state.connectFailed(failure, now: start)
        #expect(outcome8.isEmpty)
        #expect(state.waiters == [2])
    }

    @Test func aDiscardedConnectionIsReplacedForThoseWhoWait() {
        var state = state(size: 1)
        _ = acquire(&state, 1)
        _ = state.connected(Connection(), now: start)
        _ = acquire(&state, 2)
        let outcome9 = state.discarded(now: start)
        #expect(outcome9)
        #expect(state.open == 1)
        var quiet = self.state(size: 1)
        _ = acquire(&quiet, 1)
        _ = quiet.connected(Connection(), now: start)
        let outcome10 = quiet.discarded(now: start)
        #expect(!outcome10)
        #expect(quiet.open == 0)
    }

    @Test func onlyOldIdleConnectionsAreTested() {
        var state = state(size: 1)
        let connection = Connection()
        _ = acquire(&state, 1)
        _ = state.connected(connection, now: start)
        _ = state.release(connection, now: start)
        let outcome11 = state.takeForTest(olderThan: .seconds(30), now: start + .seconds(29))
        #expect(outcome11 == nil)
        let outcome12 = state.takeForTest(olderThan: .seconds(30), now: start + .seconds(30))
        #expect(outcome12 === connection)
        let outcome13 = state.idleEnded(connection)
        #expect(!outcome13)
        #expect(state.open == 1)
    }

    @Test func closingGivesBackWhatIsIdleAndClosesWhatComesLater() {
        var state = state(size: 2)
        let (idle, lent) = (Connection(), Connection())
        for (waiter, connection) in [(UInt64(1), idle), (2, lent)] {
            _ = acquire(&state, waiter)
            _ = state.connected(connection, now: start)
        }
        _ = state.release(idle, now: start)
        let (connections, waiters) = state.close()
        #expect(connections.first === idle && connections.count == 1)
        #expect(waiters.isEmpty)
        let outcome14 = acquire(&state, 3)
        #expect(outcome14 == "closed")
        guard case .close = state.release(lent, now: start) else { return #expect(Bool(false)) }
        #expect(state.open == 0)
    }
}
