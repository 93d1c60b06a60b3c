import ChatClient

/// What a client lived through with one turn.
struct TurnRecord: Sendable {
    /// Silence between two events of a stream.
    struct Gap: Sendable {
        let from: ContinuousClock.Instant
        let until: ContinuousClock.Instant
        var length: Duration { until - from }
    }

    /// Shorter silences are no pauses.
    static let shortestGap: Duration = .milliseconds(100)

    let planned: PlannedTurn
    let user: String
    /// Every id that an answer gave for this turn; more than one only when a cut-off chat was asked again.
    var ids: [String] = []
    /// The texts of a stream's token events, by index; nil for turns that are not followed token by token.
    var tokens: [String]?
    var text: String?
    var conversation: Int64?
    var end: ChatEnd?

    /// Connections of the stream after the first.
    var resumed = 0
    /// Requests sent again because their answer was lost.
    var repeated = 0
    /// Answers that said to come again later.
    var refused = 0
    /// Chats that were cancelled because their connection was lost, as the protocol says.
    var cancelled: Set<String> = []
    /// Its client has asked for its cancellation; it may have ended before that was heard.
    var isCancelled = false
    var gaps: [Gap] = []
    /// What should never happen.
    var violations: [String] = []

    private var lastEvent: ContinuousClock.Instant?

    init(_ planned: PlannedTurn, user: String) {
        self.planned = planned
        self.user = user
    }

    var isEnded: Bool { text != nil }

    mutating func violate(_ what: String) {
        let text = "turn \(planned.index) (\(planned.kind.rawValue), \(ids.last ?? "no id")): \(what)"
        if !violations.contains(text) { violations.append(text) }
    }

    /// Takes what a client that follows the turn says.
    mutating func hear(_ event: ChatEvent, now: ContinuousClock.Instant) {
        switch event {
        case .token(let index, let text):
            let expected = tokens?.count ?? 0
            guard index == expected else { return violate("token \(index) came where \(expected) was due") }
            tokens = (tokens ?? []) + [text]
            note(now)
        case .interrupted: resumed += 1
        case .notice, .connected: break
        }
    }

    mutating func end(_ followed: FollowedTurn, now: ContinuousClock.Instant) {
        note(now)
        end = followed.end
        text = (tokens ?? []).joined()
        conversation = followed.end.conversationID
        if followed.duplicates > 0 { violate("\(followed.duplicates) tokens came again") }
        if followed.gaps > 0 { violate("\(followed.gaps) times tokens were missing") }
        if followed.end.status != "done", !(isCancelled && followed.end.status == "cancelled") {
            violate("ended as \(followed.end.status): \(followed.end.error?.message ?? "")")
        }
    }

    private mutating func note(_ now: ContinuousClock.Instant) {
        if let last = lastEvent, now - last > TurnRecord.shortestGap { gaps.append(Gap(from: last, until: now)) }
        lastEvent = now
    }
}
