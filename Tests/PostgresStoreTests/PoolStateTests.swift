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

    @Test func aRefusedEntryIsBelievedForAWhileAndUntilAnotherIsLetIn() {
        let refused = DatabaseError.unavailable(shard: "s", reason: "28P01: no", sqlState: "28P01")
        var state = state()
        func fail(_ error: DatabaseError, after delay: Duration) {
            _ = acquire(&state, 1, after: delay)
            _ = state.connectFailed(error, now: start + delay)
        }
        fail(failure, after: .zero)
        #expect(state.refusedEntry(at: start) == nil)
        fail(refused, after: .seconds(10))
        #expect(state.refusedEntry(at: start + .seconds(19)) == refused)
        #expect(state.refusedEntry(at: start + .seconds(20)) == nil)
        // Away, and not known to be well: what it said last still counts.
        fail(failure, after: .seconds(15))
        #expect(state.refusedEntry(at: start + .seconds(16)) == refused)
        _ = acquire(&state, 2, after: .seconds(17))
        _ = state.connected(Connection(), now: start + .seconds(17))
        #expect(state.refusedEntry(at: start + .seconds(17)) == nil)
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
        guard case .hand(to: 1) = state.connected(connection, now: start) else {
            return _ = Issue.record("placed elsewhere")
        }
        guard case .hand(to: 3) = state.release(connection, now: start) else {
            return _ = Issue.record("placed elsewhere")
        }
        guard case .keep = state.release(connection, now: start) else { return _ = Issue.record("placed elsewhere") }
        let again = acquire(&state, 9)
        #expect(again == "lend")
    }

    @Test func aServerThatIsAwayIsAskedAgainOnlyAfterABackoff() {
        var state = state(size: 1)
        _ = acquire(&state, 1)
        _ = acquire(&state, 2)
        let failed = state.connectFailed(failure, now: start)
        #expect(failed == [1, 2])
        let soon = acquire(&state, 3)
        #expect(soon == "away")
        let reconnectsSoon = state.reconnects(now: start)
        #expect(!reconnectsSoon)
        let later = acquire(&state, 4, after: .seconds(2))
        #expect(later == "connect")
        #expect(state.open == 1)
    }

    @Test func aFailedAttemptFailsNobodyWhileAnotherConnectionWorks() {
        var state = state()
        _ = acquire(&state, 1)
        _ = state.connected(Connection(), now: start)
        let second = acquire(&state, 2)
        #expect(second == "connect")
        let failedBeside = state.connectFailed(failure, now: start)
        #expect(failedBeside.isEmpty)
        #expect(state.waiters == [2])
    }

    @Test func aDiscardedConnectionIsReplacedForThoseWhoWait() {
        var state = state(size: 1)
        _ = acquire(&state, 1)
        _ = state.connected(Connection(), now: start)
        _ = acquire(&state, 2)
        let discarded = state.discarded(now: start)
        #expect(discarded.connects)
        #expect(state.open == 1)
        var quiet = self.state(size: 1)
        _ = acquire(&quiet, 1)
        _ = quiet.connected(Connection(), now: start)
        let discardedAlone = quiet.discarded(now: start)
        #expect(!discardedAlone.connects && discardedAlone.refused.isEmpty)
        #expect(quiet.open == 0)
    }

    @Test func thoseWhoWaitedForTheLastConnectionOfALostServerAreTold() {
        var state = state()
        _ = acquire(&state, 1)
        _ = state.connected(Connection(), now: start)
        _ = acquire(&state, 2)
        _ = state.connectFailed(failure, now: start)
        let ended = state.discarded(now: start)
        #expect(!ended.connects && ended.refused == [2])
        #expect(state.open == 0 && state.waiters.isEmpty)
    }

    @Test func onlyOldIdleConnectionsAreTested() {
        var state = state(size: 1)
        let connection = Connection()
        _ = acquire(&state, 1)
        _ = state.connected(connection, now: start)
        _ = state.release(connection, now: start)
        let young = state.takeForTest(olderThan: .seconds(30), now: start + .seconds(29))
        #expect(young == nil)
        let old = state.takeForTest(olderThan: .seconds(30), now: start + .seconds(30))
        #expect(old === connection)
        let wasIdle = state.idleEnded(connection)
        #expect(!wasIdle)
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
        let late = acquire(&state, 3)
        #expect(late == "closed")
        guard case .close = state.release(lent, now: start) else { return _ = Issue.record("placed elsewhere") }
        #expect(state.open == 0)
    }
}
