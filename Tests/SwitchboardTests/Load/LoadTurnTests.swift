import ChatClient
import NIOCore
import Testing

@testable import switchboard

@Suite struct LoadTurnTests {
    private var random = SplitMix(seed: 1)
    private var record = LoadRecord()
    private var turn = LoadTurnTests.turn()

    private static func turn(isFollowed: Bool = true) -> LoadTurn {
        var policy = Reconnection.Policy()
        policy.patience = .seconds(60)
        return LoadTurn(
            due: at(0), gateways: 2, first: 0, idempotencyKey: "key", isFollowed: isFollowed, policy: policy)
    }

    private static func at(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(1_000_000_000_000) + .milliseconds(milliseconds)
    }

    private static func token(_ index: Int) -> EventStreamParser.Item {
        .event(.init(id: "\(index)", data: #"{"token":"x","done":false}"#))
    }

    private static func end(_ tokens: Int, _ status: String = "done") -> EventStreamParser.Item {
        .event(
            .init(
                data: """
                    {"done":true,"token":"","status":"\(status)","finish_reason":"stop","conversation_id":9,\
                    "usage":{"prompt_tokens":1,"completion_tokens":\(tokens)}}
                    """))
    }

    private mutating func begin(at time: Int64 = 10) {
        let step = turn.answered(
            200, Array(#"{"correlation_id":"t"}"#.utf8), retryAfter: nil, at: Self.at(time), into: &record,
            using: &random)
        #expect(step == .send(.follow(turn: "t", lastEventID: nil), gateway: turn.gateway, after: .zero))
    }

    private mutating func take(_ items: [EventStreamParser.Item], at time: Int64) -> LoadTurn.Step? {
        turn.take(items, at: Self.at(time), into: &record, using: &random)
    }

    @Test mutating func aWholeTurnIsTimedFromWhenItWasDue() {
        #expect(turn.first == .send(.begin, gateway: 0, after: .zero))
        begin()
        #expect(take([.comment], at: 15) == nil)
        #expect(take([Self.token(0)], at: 30) == nil && take([Self.token(1)], at: 80) == nil)
        #expect(take([Self.end(2)], at: 100) == .end(.done(conversation: 9)))
        #expect(record.accept.maximum > 0.0099 && record.accept.maximum < 0.0101)
        #expect(abs(record.firstToken.maximum - 0.03) < 0.0001 && abs(record.betweenTokens.maximum - 0.05) < 0.0001)
        #expect(abs(record.whole.maximum - 0.1) < 0.0002 && record.tokens == 2 && record.violations == 0)
    }

    @Test mutating func aLostStreamGoesOnElsewhereBehindItsLastToken() {
        begin()
        _ = take([Self.token(0), Self.token(1)], at: 20)
        let step = turn.lost(Loss(reason: "gone"), at: Self.at(30), into: &record, using: &random)
        guard case .send(.follow("t", lastEventID: "1"), gateway: 1, after: let pause) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(pause <= .milliseconds(100))
        #expect(take([Self.token(2), Self.end(3)], at: 90) == .end(.done(conversation: 9)))
        // The gap over two connections is a resume, not a time between tokens.
        #expect(abs(record.resume.maximum - 0.06) < 0.0001 && record.betweenTokens.maximum == 0)
        #expect(record.violations == 0 && record.lost.counts == ["gone": 1])
    }

    @Test mutating func whatIsDoubledMissingOrMiscountedIsFound() {
        begin()
        _ = take([Self.token(0), Self.token(0)], at: 20)
        #expect(record.doubled == 1 && record.tokens == 1)
        guard case .send(.follow("t", lastEventID: "0"), gateway: 1, _)? = take([Self.token(2)], at: 21) else {
            Issue.record("a missing token is not asked for again")
            return
        }
        #expect(record.missing == 1)
        #expect(take([Self.token(1), Self.end(3)], at: 30) == .end(.done(conversation: 9)))
        #expect(record.miscounted == 1 && record.violations == 3 && !record.isClean)
    }

    @Test mutating func refusalsEndATurnAndAbsenceDoesNot() {
        let overloaded = Array(#"{"error":{"code":"overloaded","message":"too much"}}"#.utf8)
        let away = Array(#"{"error":{"code":"unavailable","message":"Redis"}}"#.utf8)
        let step = turn.answered(503, away, retryAfter: nil, at: Self.at(5), into: &record, using: &random)
        guard case .send(.begin, gateway: 1, _) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(
            turn.answered(503, overloaded, retryAfter: "7", at: Self.at(9), into: &record, using: &random)
                == .end(.failed("503 overloaded", retryAfter: .seconds(7))))
        turn = Self.turn()
        begin()
        guard
            case .send(.follow, gateway: 1, _) = turn.refused(
                503, [], retryAfter: nil, at: Self.at(9), into: &record, using: &random)
        else {
            Issue.record("a gateway that cannot is not the end")
            return
        }
        #expect(
            turn.refused(404, [], retryAfter: nil, at: Self.at(9), into: &record, using: &random)
                == .end(.failed("404 unknown to a reader", retryAfter: nil)))
    }

    @Test mutating func afterTheLastSignOfLifeItIsGivenUp() {
        begin(at: 0)
        _ = take([.comment], at: 30_000)
        guard case .send = turn.lost(Loss(reason: "gone"), at: Self.at(89_000), into: &record, using: &random) else {
            Issue.record("too early")
            return
        }
        #expect(
            turn.lost(Loss(reason: "gone"), at: Self.at(90_001), into: &record, using: &random)
                == .end(.failed("given up: gone", retryAfter: nil)))
    }

    @Test mutating func aFailedTurnIsAnErrorByItsReason() {
        begin()
        #expect(take([Self.end(0, "failed")], at: 20) == .end(.failed("the turn failed: stop", retryAfter: nil)))
        #expect(record.whole.count == 0 && record.miscounted == 0)
    }

    @Test mutating func whatIsNotFollowedIsDoneWhenAccepted() {
        turn = Self.turn(isFollowed: false)
        let body = Array(#"{"correlation_id":"t"}"#.utf8)
        #expect(
            turn.answered(202, body, retryAfter: nil, at: Self.at(3), into: &record, using: &random)
                == .end(.done(conversation: nil)))
        turn = Self.turn()
        guard
            case .end(.failed) = turn.answered(200, [], retryAfter: nil, at: Self.at(3), into: &record, using: &random)
        else {
            Issue.record("an empty answer was accepted")
            return
        }
    }

    @Test func serverTimingIsReadAndNotBelieved() {
        let timings = ServerTiming.parse("total;dur=1.5, own; dur=0.25 ,redis;desc=x;dur=1,odd,bad;dur=x,neg;dur=-1")
        #expect(timings.map(\.name) == ["total", "own", "redis"])
        #expect(timings.map(\.time) == [.microseconds(1500), .microseconds(250), .milliseconds(1)])
        var record = LoadRecord()
        for index in 0..<100 { record.recordServerTiming("n\(index);dur=1") }
        #expect(record.serverTiming.count == LoadRecord.maximumServerTimings)
        for index in 0..<100 { record.errors.count("reason \(index)") }
        #expect(record.errors.counts.count == LoadRecord.Reasons.maximum + 1 && record.errors.sum == 100)
    }
}
