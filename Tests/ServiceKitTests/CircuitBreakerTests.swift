import Logging
import SeededRandom
import ServiceKit
import Synchronization
import Testing

@Suite struct CircuitBreakerTests {
    private let start = ContinuousClock.now

    private func breaker() -> CircuitBreaker { CircuitBreaker() }

    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }

    /// A call that begins and ends; false when it was refused.
    private func call(
        _ breaker: inout CircuitBreaker, _ verdict: CircuitBreaker.Verdict, from begin: Int, to end: Int? = nil
    ) -> Bool {
        guard case .permitted(let permit) = breaker.admit(at: at(begin)) else { return false }
        var random = SeededGenerator(seed: UInt64(begin))
        breaker.settle(permit, verdict, at: at(end ?? begin), using: &random)
        return true
    }

    private func opened() -> CircuitBreaker {
        var breaker = breaker()
        for time in [0, 500, 900, 1000, 1001] { _ = call(&breaker, .failure, from: time) }
        return breaker
    }

    @Test func aRunOfFailuresOpensItAndASuccessBetweenDoesNot() {
        var breaker = breaker()
        for time in [0, 500, 900, 999] { #expect(call(&breaker, .failure, from: time)) }
        #expect(breaker.state == .closed)
        let fifth = call(&breaker, .failure, from: 1000)
        #expect(fifth && breaker.state == .open && breaker.openings == 1)

        breaker = CircuitBreaker()
        for time in 0..<10_000 where time % 100 == 0 {
            _ = call(&breaker, time % 400 == 0 ? .success : .failure, from: time)
        }
        #expect(breaker.state == .closed)
    }

    @Test func oneConnectionsDeathIsNoRun() {
        var breaker = breaker()
        _ = call(&breaker, .success, from: 900)
        // A thousand calls were under way for a second and fail in one instant; others, elsewhere, go on succeeding.
        for _ in 0..<1000 { _ = call(&breaker, .failure, from: 0, to: 1000) }
        #expect(breaker.state == .closed)
        _ = call(&breaker, .success, from: 1001)
        for _ in 0..<1000 { _ = call(&breaker, .failure, from: 1002, to: 1500) }
        #expect(breaker.state == .closed)
    }

    @Test func callsThatAllTimeOutOpenItAtOnce() {
        var breaker = breaker()
        for _ in 0..<5 { _ = call(&breaker, .failure, from: 0, to: 2000) }
        #expect(breaker.state == .open)
    }

    @Test func whatIsTheCallersFaultCountsAsAnAnswerOrNotAtAll() {
        var breaker = breaker()
        for time in 0..<100 { _ = call(&breaker, .neither, from: time * 100) }
        #expect(breaker.state == .closed)
        // And it does not hide a run either.
        for time in 0..<20 { _ = call(&breaker, time % 2 == 0 ? .failure : .neither, from: 20_000 + time * 100) }
        #expect(breaker.state == .open)
    }

    @Test func openItRefusesUntilItsDelayIsOverAndThenLetsOneCallThrough() throws {
        var breaker = opened()
        // The first delay is 200 to 400 ms.
        guard case .refused(let wait) = breaker.admit(at: at(1100)) else { throw Unexpected() }
        #expect(wait > .zero && wait <= .milliseconds(400) && !breaker.isProbeDue(at: at(1100)))
        #expect(breaker.isProbeDue(at: at(1500)))
        guard case .permitted(let probe) = breaker.admit(at: at(1500)) else { throw Unexpected() }
        #expect(breaker.state == .halfOpen && !breaker.isProbeDue(at: at(1501)))
        for time in 1500..<1600 { #expect(!call(&breaker, .success, from: time)) }
        var random = SeededGenerator(seed: 3)
        breaker.settle(probe, .success, at: at(1600), using: &random)
        #expect(breaker.state == .closed)
        // The run begins anew.
        for time in [1600, 2000, 2600, 2700] { _ = call(&breaker, .failure, from: time) }
        #expect(breaker.state == .closed)
    }

    @Test func aFailedProbeOpensItForLongerUpToABound() {
        var breaker = opened()
        var now = 1001
        var waits: [Int] = []
        for _ in 0..<8 {
            let begin = now
            while !breaker.isProbeDue(at: at(now)), now < 100_000 { now += 1 }
            waits.append(now - begin)
            #expect(call(&breaker, .failure, from: now))
            #expect(breaker.state == .open)
        }
        #expect(waits.allSatisfy { (200...2001).contains($0) } && waits[0] <= 401)
        #expect(waits.max() ?? 0 > 800)
    }

    @Test func anAnsweredGreetingClosesItButForgetsNoDelay() {
        var breaker = opened()
        breaker.reconnected(at: at(1002))
        #expect(breaker.state == .closed)
        // A server that greets and then fails every call opens it again and again, for longer each time.
        var now = 1002
        var waits: [Int] = []
        for _ in 0..<6 {
            while breaker.state == .closed {
                now += 300
                _ = call(&breaker, .failure, from: now)
            }
            let opened = now
            while !breaker.isProbeDue(at: at(now)), now < 100_000 { now += 1 }
            waits.append(now - opened)
            breaker.reconnected(at: at(now))
        }
        #expect(waits.max() ?? 0 > 800)
        _ = call(&breaker, .success, from: now)
        for time in [0, 500, 900, 1000, 1001] { _ = call(&breaker, .failure, from: now + time) }
        #expect(breaker.state == .open && breaker.isProbeDue(at: at(now + 1402)))
    }

    @Test func whatBeganBeforeItOpenedNeitherClosesNorReopensIt() throws {
        var breaker = breaker()
        guard case .permitted(let early) = breaker.admit(at: at(0)),
            case .permitted(let other) = breaker.admit(at: at(0))
        else { throw Unexpected() }
        for time in [0, 500, 900, 1000, 1001] { _ = call(&breaker, .failure, from: time) }
        var random = SeededGenerator(seed: 5)
        // A success of then is a sign of life, no more: it may have been on the way for long.
        breaker.settle(early, .success, at: at(1002), using: &random)
        #expect(breaker.state == .halfOpen)
        guard case .permitted(let probe) = breaker.admit(at: at(1003)) else { throw Unexpected() }
        breaker.settle(other, .failure, at: at(1004), using: &random)
        #expect(breaker.state == .halfOpen)
        breaker.settle(probe, .success, at: at(1005), using: &random)
        #expect(breaker.state == .closed)
    }

    @Test func aProbeThatNeverEndsDoesNotKeepItShut() throws {
        var breaker = opened()
        guard case .permitted(let lost) = breaker.admit(at: at(2000)) else { throw Unexpected() }
        #expect(!call(&breaker, .success, from: 4999))
        let second = call(&breaker, .neither, from: 5000)
        #expect(second && breaker.state == .halfOpen)
        // A cancelled probe frees its place at once.
        let third = call(&breaker, .success, from: 5001)
        #expect(third && breaker.state == .closed)
        var random = SeededGenerator(seed: 5)
        breaker.settle(lost, .failure, at: at(9000), using: &random)
        #expect(breaker.state == .closed)
    }

    /// Thousands of calls that begin and end in any order, to a dependency that goes and comes.
    @Test(arguments: 0..<10) func neverMoreThanOneProbeAndNeverStuck(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var breaker = breaker()
        var underWay: [(permit: CircuitBreaker.Permit, end: Int)] = []
        var isUp = true
        var refusals = 0
        var lastProbe: (at: Int, openings: UInt64)?
        func end(at now: Int, _ verdict: CircuitBreaker.Verdict) {
            for call in underWay where call.end <= now {
                breaker.settle(call.permit, verdict, at: at(now), using: &random)
            }
            underWay.removeAll { $0.end <= now }
        }
        for now in stride(from: 0, to: 60_000, by: 20) {
            if Int.random(in: 0..<200, using: &random) == 0 { isUp.toggle() }
            end(at: now, isUp ? .success : .failure)
            let mayPass = breaker.state == .closed || breaker.isProbeDue(at: at(now))
            switch breaker.admit(at: at(now)) {
            case .permitted(let permit):
                if !mayPass { Issue.record("a call passed that must not") }
                if breaker.state == .halfOpen {
                    // The next probe of one opening comes only when the patience with the one before is over.
                    if let last = lastProbe, last.openings == breaker.openings, now - last.at < 3000 {
                        Issue.record("two probes at a time")
                    }
                    lastProbe = (now, breaker.openings)
                }
                underWay.append((permit, now + Int.random(in: 0...1000, using: &random)))
            case .refused(let wait):
                refusals += 1
                if mayPass || wait <= .zero || wait > .seconds(3) { Issue.record("refused for \(wait)") }
            }
        }
        #expect((breaker.openings > 0) == (refusals > 0))
        // Whatever happened, a dependency that stays up is used again.
        for now in stride(from: 60_000, to: 70_000, by: 20) {
            end(at: now, .success)
            if case .permitted(let permit) = breaker.admit(at: at(now)) { underWay.append((permit, now + 1)) }
        }
        #expect(breaker.state == .closed)
    }

    private struct Unexpected: Error {}
}

@Suite struct DependencyBreakerTests {
    private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private var eager: CircuitBreaker.Policy {
        var policy = CircuitBreaker.Policy()
        policy.failures = 2
        policy.span = .zero
        policy.delay = Backoff(base: .milliseconds(1), cap: .milliseconds(1))
        return policy
    }

    @Test func refusesInTheWordsOfTheLastFailureAndIsFoundAgainByItsOwnProbes() async throws {
        var patient = eager
        patient.delay = Backoff(base: .seconds(2), cap: .seconds(2))
        let breaker = DependencyBreaker("store", policy: patient, logger: quiet)
        for reason in ["first", "last"] { breaker.settle(try breaker.admit(), .failure, reason: reason) }
        #expect(breaker.state == .open)
        let refusal = #expect(throws: DependencyBreaker.Refusal.self) { try breaker.admit() }
        #expect(refusal?.reason == "last")
        #expect(refusal.map { (.zero...Duration.seconds(2)).contains($0.retryAfter) } == true)

        let probes = Mutex(0)
        let prober = Task {
            await breaker.keepProbing {
                guard let permit = try? breaker.admit() else { return }
                breaker.settle(
                    permit,
                    probes.withLock {
                        $0 += 1; return $0
                    } < 3 ? .neither : .success)
            }
        }
        try await closed(breaker)
        #expect(probes.withLock { $0 } == 3)
        prober.cancel()
        await prober.value
    }

    @Test func observersSeeWhereItStands() async throws {
        let breaker = DependencyBreaker("store", policy: eager, logger: quiet)
        let seen = Mutex<[CircuitBreaker.State]>([])
        let observer = Task {
            await breaker.withChanges { changes in
                while await changes.receive() != nil {
                    seen.withLock { $0.append(breaker.state) }
                    if breaker.state == .closed, seen.withLock({ $0.contains(.open) }) { return }
                    guard breaker.state == .closed else { continue }
                    for _ in 1...2 { if let permit = try? breaker.admit() { breaker.settle(permit, .failure) } }
                }
            }
        }
        let prober = Task {
            await breaker.keepProbing { if let permit = try? breaker.admit() { breaker.settle(permit, .success) } }
        }
        await observer.value
        #expect(seen.withLock { $0.first == .closed && $0.last == .closed && $0.contains(.open) })
        prober.cancel()
    }

    private func closed(_ breaker: DependencyBreaker) async throws {
        let deadline = ContinuousClock.now + .seconds(120)
        while breaker.state != .closed {
            try #require(ContinuousClock.now < deadline)
            try await Task.sleep(for: .milliseconds(2))
        }
    }
}
