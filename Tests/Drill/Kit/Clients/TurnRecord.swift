import ServiceHarness

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
    var end: EndEvent?

    /// Connections of the stream after the first.
    var resumed = 0
    /// Requests sent again because their answer was lost.
    var repeated = 0
    /// Answers that said to come again later.
    var refused = 0
    /// Chats that were cancelled because their connection was lost, as the protocol says.
    var cancelled: Set<String> = []
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

    /// Takes what a stream brought since the last call.
    mutating func take(_ read: ReadStream, now: ContinuousClock.Instant) {
        for event in read.events {
            let expected = tokens?.count ?? 0
            switch event.id {
            case expected: tokens = (tokens ?? []) + [event.token]
            case .some(let id) where id < expected:
                violate("token \(id) came again (\(tokens?[id] == event.token ? "the same" : "another"))")
            case .some(let id): violate("token \(id) came where \(expected) was due")
            case nil: violate("a token without an id")
            }
        }
        guard !read.events.isEmpty || read.end != nil else { return }
        if let last = lastEvent, now - last > TurnRecord.shortestGap { gaps.append(Gap(from: last, until: now)) }
        lastEvent = now
        guard let end = read.end else { return }
        self.end = end
        text = (tokens ?? []).joined()
        conversation = end.conversation_id
        if end.status != "done" { violate("ended as \(end.status): \(end.error?.message ?? "")") }
    }
}
