import ChatClient
import Testing

@Suite struct ReconnectionTests {
    private var random = SystemRandomNumberGenerator()
    private let lost = Loss(reason: "gone")

    private func pause(_ decision: Reconnection.Decision) -> Duration? {
        if case .connect(_, let pause) = decision { pause } else { nil }
    }

    private func gateway(_ decision: Reconnection.Decision) -> Int? {
        if case .connect(let gateway, _) = decision { gateway } else { nil }
    }

    @Test mutating func goesOnAtTheNextGatewayAtOnce() {
        var reconnection = Reconnection(gateways: 3, first: 2, policy: .init(), now: .zero)
        for expected in [0, 1] {
            let decision = reconnection.lost(lost, at: .zero, using: &random)
            #expect(gateway(decision) == expected)
            #expect(pause(decision).map { $0 <= .milliseconds(100) } == true)
        }
        // Every one has failed: now it waits, longer and longer, and never longer than the cap.
        var policy = Reconnection.Policy()
        policy.patience = .seconds(10_000)
        var longest = Duration.zero
        reconnection = Reconnection(gateways: 2, first: 0, policy: policy, now: .zero)
        for _ in 0..<200 {
            let next = pause(reconnection.lost(lost, at: .seconds(1), using: &random)) ?? .seconds(1000)
            longest = max(longest, next)
        }
        #expect(longest > .seconds(1) && longest <= policy.cap)
        // A new token forgives: the next loss is the first again.
        reconnection.progressed(at: .seconds(2))
        #expect(pause(reconnection.lost(lost, at: .seconds(2), using: &random)).map { $0 <= policy.spread } == true)
    }

    @Test mutating func aServersHintIsTakenOnceAndAsItIs() {
        var reconnection = Reconnection(gateways: 2, first: 0, policy: .init(), now: .zero)
        reconnection.take(hint: .milliseconds(1234))
        #expect(reconnection.lost(lost, at: .zero, using: &random) == .connect(gateway: 1, after: .milliseconds(1234)))
        #expect(pause(reconnection.lost(lost, at: .zero, using: &random)) != .milliseconds(1234))
        reconnection.take(hint: .seconds(1_000_000))
        #expect(reconnection.lost(lost, at: .zero, using: &random) == .connect(gateway: 1, after: .seconds(30)))
    }

    @Test mutating func givesUpAfterItsPatienceAndNotBefore() {
        var reconnection = Reconnection(gateways: 1, first: 0, policy: .init(), now: .zero)
        #expect(pause(reconnection.lost(lost, at: .seconds(119), using: &random)) != nil)
        reconnection.heard(at: .seconds(119))
        #expect(pause(reconnection.lost(lost, at: .seconds(238), using: &random)) != nil)
        #expect(reconnection.lost(lost, at: .seconds(239), using: &random) == .giveUp)
    }

    @Test mutating func aRefusalThatNamesATimeIsBelieved() {
        var reconnection = Reconnection(gateways: 1, first: 0, policy: .init(), now: .zero)
        let decision = reconnection.lost(
            Loss(reason: "busy", retryAfter: .seconds(7)), at: .zero, using: &random)
        #expect(pause(decision) == .seconds(7))
    }

    /// The server lives, and what it says stays wrong: patience would never end.
    @Test mutating func aLogThatIsWrongAgainAndAgainIsGivenUp() {
        let wrong = Loss(ChatClientError.malformed("token 7 where token 3 is due"))
        var reconnection = Reconnection(gateways: 2, first: 0, policy: .init(), now: .zero)
        for _ in 1..<5 {
            reconnection.heard(at: .zero)
            #expect(pause(reconnection.lost(wrong, at: .zero, using: &random)) != nil)
        }
        reconnection.progressed(at: .zero)
        for _ in 1..<5 { #expect(pause(reconnection.lost(wrong, at: .zero, using: &random)) != nil) }
        reconnection.heard(at: .zero)
        #expect(reconnection.lost(wrong, at: .zero, using: &random) == .giveUp)
    }
}
