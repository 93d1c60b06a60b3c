import ChatClient
import Testing

@Suite struct ReconnectionTests {
    private var random = SystemRandomNumberGenerator()

    private func pause(_ decision: Reconnection.Decision) -> Duration? {
        if case .connect(_, let pause) = decision { pause } else { nil }
    }

    private func gateway(_ decision: Reconnection.Decision) -> Int? {
        if case .connect(let gateway, _) = decision { gateway } else { nil }
    }

    @Test mutating func goesOnAtTheNextGatewayAtOnce() {
        var reconnection = Reconnection(gateways: 3, first: 2, policy: .init(), now: .zero)
        for expected in [0, 1] {
            let decision = reconnection.lost(at: .zero, using: &random)
            #expect(gateway(decision) == expected)
            #expect(pause(decision).map { $0 <= .milliseconds(100) } == true)
        }
        // Every one has failed: now it waits, longer and longer, and never longer than the cap.
        var policy = Reconnection.Policy()
        policy.patience = .seconds(10_000)
        var longest = Duration.zero
        reconnection = Reconnection(gateways: 2, first: 0, policy: policy, now: .zero)
        for _ in 0..<200 {
            let next = pause(reconnection.lost(at: .seconds(1), using: &random)) ?? .seconds(1000)
            longest = max(longest, next)
        }
        #expect(longest > .seconds(1) && longest <= policy.cap)
        // A new token forgives: the next loss is the first again.
        reconnection.progressed(at: .seconds(2))
        #expect(pause(reconnection.lost(at: .seconds(2), using: &random)).map { $0 <= policy.spread } == true)
    }

    @Test mutating func aServersHintIsTakenOnceAndAsItIs() {
        var reconnection = Reconnection(gateways: 2, first: 0, policy: .init(), now: .zero)
        reconnection.take(hint: .milliseconds(1234))
        #expect(reconnection.lost(at: .zero, using: &random) == .connect(gateway: 1, after: .milliseconds(1234)))
        #expect(pause(reconnection.lost(at: .zero, using: &random)) != .milliseconds(1234))
        reconnection.take(hint: .seconds(1_000_000))
        #expect(reconnection.lost(at: .zero, using: &random) == .connect(gateway: 1, after: .seconds(30)))
    }

    @Test mutating func givesUpAfterItsPatienceAndNotBefore() {
        var reconnection = Reconnection(gateways: 1, first: 0, policy: .init(), now: .zero)
        #expect(pause(reconnection.lost(at: .seconds(119), using: &random)) != nil)
        reconnection.heard(at: .seconds(119))
        #expect(pause(reconnection.lost(at: .seconds(238), using: &random)) != nil)
        #expect(reconnection.lost(at: .seconds(239), using: &random) == .giveUp)
    }

    @Test mutating func aRefusalThatNamesATimeIsBelieved() {
        var reconnection = Reconnection(gateways: 1, first: 0, policy: .init(), now: .zero)
        let decision = reconnection.lost(at: .zero, retryAfter: .seconds(7), using: &random)
        #expect(pause(decision) == .seconds(7))
    }
}
