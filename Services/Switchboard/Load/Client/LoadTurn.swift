import ChatClient
import Foundation
import NIOCore

/// One turn as its client lives it: begun, followed over however many connections and gateways, ended. Pure: time and
/// randomness come from outside, connections are somebody else's.
struct LoadTurn {
    enum Request: Equatable {
        case begin
        case follow(turn: String, lastEventID: String?)
    }

    enum Step: Equatable {
        case send(Request, gateway: Int, after: Duration)
        case end(Ending)
    }

    enum Ending: Equatable {
        case done(conversation: Int64?)
        /// Refused, failed or given up, with the reason by which it is counted.
        case failed(String, retryAfter: Duration?)
    }

    let isFollowed: Bool
    /// When it should have begun. All its times count from here, so that a late beginning is not hidden in them.
    let due: NIODeadline
    /// The same at every attempt, so that one whose answer was lost is repeated safely.
    let idempotencyKey: String
    private(set) var gateway: Int
    private(set) var id: String?

    private var reconnection: Reconnection
    private let gateways: Int
    private let policy: Reconnection.Policy
    private var follower = TurnFollower(readsTexts: false)
    private var lastToken: NIODeadline?
    /// When the last connection ended, until the next one's first byte.
    private var lostAt: NIODeadline?

    init(
        due: NIODeadline, gateways: Int, first: Int, idempotencyKey: String, isFollowed: Bool,
        policy: Reconnection.Policy
    ) {
        self.due = due
        self.isFollowed = isFollowed
        self.idempotencyKey = idempotencyKey
        self.gateways = gateways
        self.policy = policy
        gateway = first % gateways
        reconnection = Reconnection(gateways: gateways, first: gateway, policy: policy, now: due.sinceBoot)
    }

    /// Tokens that have come.
    var tokens: Int { follower.next }

    var first: Step { .send(.begin, gateway: gateway, after: .zero) }

    // MARK: Beginning

    /// The POST was answered.
    mutating func answered(
        _ status: Int, _ body: [UInt8], retryAfter: String?, at now: NIODeadline, into record: inout LoadRecord,
        using random: inout some RandomNumberGenerator
    ) -> Step {
        guard (200..<300).contains(status) else {
            let refusal = ChatClientError.Refusal(status: status, body: body, retryAfter: retryAfter)
            if refusal.isPassing(forRepeatable: true) {
                return lost(
                    Loss(reason: "\(status) \(refusal.code)", retryAfter: refusal.retryAfter), at: now, &record, &random
                )
            }
            return .end(.failed("\(status) \(refusal.code)", retryAfter: refusal.retryAfter))
        }
        guard let begun = try? JSONDecoder().decode(Begun.self, from: Data(body)) else {
            return .end(.failed("an accepted turn without correlation_id", retryAfter: nil))
        }
        record.accept.record(nanoseconds: (now - due).nanoseconds)
        guard isFollowed else { return .end(.done(conversation: nil)) }
        id = begun.correlation_id
        reconnection = Reconnection(gateways: gateways, first: gateway, policy: policy, now: now.sinceBoot)
        return .send(.follow(turn: begun.correlation_id, lastEventID: nil), gateway: gateway, after: .zero)
    }

    private struct Begun: Decodable {
        let correlation_id: String
    }

    // MARK: Following

    /// A connection for the stream was answered with another status than 200.
    mutating func refused(
        _ status: Int, _ body: [UInt8], retryAfter: String?, at now: NIODeadline, into record: inout LoadRecord,
        using random: inout some RandomNumberGenerator
    ) -> Step {
        let refusal = ChatClientError.Refusal(status: status, body: body, retryAfter: retryAfter)
        let reason = "\(status) \(refusal.code) to a reader"
        // 4xx is about this request and will not change; anything else is about the server.
        guard status >= 500 || status == 429 else { return .end(.failed(reason, retryAfter: nil)) }
        return lost(Loss(reason: reason, retryAfter: refusal.retryAfter), at: now, &record, &random)
    }

    /// Bytes came, and these items with them.
    /// - Returns: what is to be done, if the turn or the connection is over.
    mutating func take(
        _ items: [EventStreamParser.Item], at now: NIODeadline, into record: inout LoadRecord,
        using random: inout some RandomNumberGenerator
    ) -> Step? {
        reconnection.heard(at: now.sinceBoot)
        if let lostAt {
            record.resume.record(nanoseconds: (now - lostAt).nanoseconds)
            self.lostAt = nil
        }
        for item in items {
            switch item {
            case .comment: break
            case .retry(let pause): reconnection.take(hint: pause)
            case .event(let event):
                let before = (next: follower.next, doubled: follower.duplicates, gaps: follower.gaps)
                do { _ = try follower.take(event) } catch {
                    record.missing += follower.gaps - before.gaps
                    return lost(Loss(error), at: now, &record, &random)
                }
                record.doubled += follower.duplicates - before.doubled
                if follower.next > before.next { token(at: now, &record) }
            }
            if let (end, _) = follower.end { return .end(ended(end, at: now, &record)) }
        }
        return nil
    }

    private mutating func token(at now: NIODeadline, _ record: inout LoadRecord) {
        record.tokens += 1
        if follower.next == 1 { record.firstToken.record(nanoseconds: (now - due).nanoseconds) }
        if let lastToken { record.betweenTokens.record(nanoseconds: (now - lastToken).nanoseconds) }
        lastToken = now
        reconnection.progressed(at: now.sinceBoot)
    }

    private func ended(_ end: ChatEnd, at now: NIODeadline, _ record: inout LoadRecord) -> Ending {
        if end.usage.completionTokens != follower.next { record.miscounted += 1 }
        guard end.status == "done" else {
            return .failed("the turn \(end.status): \(end.error?.message ?? end.finishReason)", retryAfter: nil)
        }
        record.whole.record(nanoseconds: (now - due).nanoseconds)
        return .done(conversation: end.conversationID)
    }

    // MARK: Losing connections

    /// A request or a stream ended before it should.
    mutating func lost(
        _ loss: Loss, at now: NIODeadline, into record: inout LoadRecord, using random: inout some RandomNumberGenerator
    ) -> Step {
        lost(loss, at: now, &record, &random)
    }

    private mutating func lost(
        _ loss: Loss, at now: NIODeadline, _ record: inout LoadRecord, _ random: inout some RandomNumberGenerator
    ) -> Step {
        record.lost.count(loss.reason)
        return again(loss, at: now, &random)
    }

    /// This client drops the connection of its stream on purpose.
    mutating func dropped(
        at now: NIODeadline, into record: inout LoadRecord, using random: inout some RandomNumberGenerator
    ) -> Step {
        record.dropped += 1
        return again(Loss(reason: "dropped"), at: now, &random)
    }

    private mutating func again(
        _ loss: Loss, at now: NIODeadline, _ random: inout some RandomNumberGenerator
    ) -> Step {
        // Of a pause over two connections nothing is said between tokens: it is `resume`.
        lastToken = nil
        if id != nil, lostAt == nil { lostAt = now }
        switch reconnection.lost(loss, at: now.sinceBoot, using: &random) {
        case .giveUp: return .end(.failed("given up: \(loss.reason)", retryAfter: nil))
        case .connect(let next, let pause):
            gateway = next
            let request = id.map { Request.follow(turn: $0, lastEventID: follower.lastEventID) } ?? .begin
            return .send(request, gateway: next, after: pause)
        }
    }
}

extension NIODeadline {
    /// As the clock that `Reconnection` is told: time since any fixed moment.
    var sinceBoot: Duration { .nanoseconds(Int64(clamping: uptimeNanoseconds)) }
}
