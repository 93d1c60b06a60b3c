import ChatCore
import RedisStore
import ServiceKit

/// One client's place in a turn's log: gives every event from that place on exactly once and in order, also when the log
/// is lost and written again on the way, or has gone to the shard.
struct TurnReader {
    /// After this long without news the log is read again, which also renews the registration.
    private static let silence: Duration = .seconds(2)
    /// A busy stream reads too, to renew its registration, which lasts 20 s at Redis.
    private static let renewal: Duration = .seconds(8)
    /// How long Redis may be out of reach.
    private static let patience: Duration = .seconds(30)
    /// How long a log may be missing. Its holder writes it again as soon as it notices; a turn without a holder waits
    /// in its queue.
    private static let patienceWithoutLog: Duration = .seconds(120)
    /// Between two questions to the shards about a turn whose log is missing.
    private static let shardInterval: Duration = .seconds(2)

    let turn: TurnID
    /// Set when this gateway drains and lets go of the client: the pause to ask it for before it comes back elsewhere.
    private(set) var leave: Duration?
    /// When the first of the last events was heard of; nil when they were read from the log.
    private(set) var heardAt: ContinuousClock.Instant?

    /// When the first of the latest events was heard of; nil when none of them came as a hint.
    private(set) var heard: ContinuousClock.Instant?

    private let tenant: String
    private var sequence: EventSequence
    private let mailbox: Mailbox<TurnRelay.News>
    private let relay: TurnRelay
    private let token: UInt64
    private var isRegistered = false
    /// Whether the turn is known to be the tenant's.
    private var isKnown: Bool
    private var hasSeenLog = false
    private var missingSince: ContinuousClock.Instant?
    private var lastAskedShards: ContinuousClock.Instant?
    private var lastNews = ContinuousClock.now
    private var lastRead = ContinuousClock.now

    init(
        turn: TurnID, tenant: String, from: Int, isKnown: Bool, mailbox: Mailbox<TurnRelay.News>, relay: TurnRelay,
        token: UInt64
    ) {
        self.turn = turn
        self.tenant = tenant
        self.sequence = EventSequence(next: from)
        self.isKnown = isKnown
        self.mailbox = mailbox
        self.relay = relay
        self.token = token
    }

    /// What came next: new events; an empty list about once a second while nothing does; nil when the task is cancelled
    /// or the gateway lets go of the client (`leave`).
    /// - Throws: `APIError.unknownTurn` when there is no such turn, `.unavailable` when it was out of reach for too long.
    mutating func next() async throws -> [TurnEvent]? {
        if !isRegistered {
            // The mailbox stands already: what is appended between this read and now waits in it.
            isRegistered = true
            let events = try await read()
            if !events.isEmpty { return events }
        }
        heard = nil
        guard leave == nil, let delivery = await mailbox.receive() else { return nil }
        var events: [TurnEvent] = []
        var mustRead = delivery.hasGap
        for news in delivery.elements {
            switch news {
            case .events(let new, let heard):
                lastNews = heard
                self.heard = self.heard ?? heard
                if sequence.admit(new, into: &events) == .gap { mustRead = true }
            case .reread, .seek: mustRead = true
            case .leave(let pause): leave = pause
            case .tick: if lastNews + TurnReader.silence < .now { mustRead = true }
            }
        }
        if lastRead + TurnReader.renewal < .now { mustRead = true }
        if mustRead { events += try await read() }
        return leave != nil && events.isEmpty ? nil : events
    }

    private mutating func read() async throws -> [TurnEvent] {
        let found: [TurnEvent]?
        do {
            found = try await look()
        } catch let error where TurnReader.isOutage(error) {
            // Redis is away for a moment: the stream waits, and the next tick tries again.
            guard lastRead + TurnReader.patience > .now else { throw APIError.unavailable("Redis") }
            return []
        }
        // Redis answers, whatever it says.
        lastRead = .now
        guard let found else { return try await search() }
        relay.found(token)
        missingSince = nil
        hasSeenLog = true
        lastNews = .now
        return admitted(found)
    }

    /// The log's events from here on, after registering for hints; nil when there is no log.
    private mutating func look() async throws -> [TurnEvent]? {
        if !isKnown {
            let (finder, turn, tenant) = (relay.finder, turn, tenant)
            guard try await onOwnStack({ try await finder.record(of: turn, tenant: tenant) }) != nil else { return nil }
            isKnown = true
        }
        let (log, turn, reader, next) = (relay.log, turn, relay.name, sequence.next)
        let answer = try await onOwnStack { try await log.follow(turn, reader: reader, from: next) }
        return answer.exists ? answer.events : nil
    }

    private static func isOutage(_ error: any Error) -> Bool {
        error is RedisError || (error as? APIError)?.status == .serviceUnavailable
    }

    /// The log is not there: it has expired and the turn is settled, or Redis has lost its memory and the turn's holder is
    /// about to write it again. Until one of these shows, the turn is looked for several times a second.
    private mutating func search() async throws -> [TurnEvent] {
        let since = missingSince ?? .now
        if missingSince == nil {
            missingSince = since
            relay.seek(token)
        }
        guard since + TurnReader.patienceWithoutLog > .now else { throw APIError.logLost }
        if let last = lastAskedShards, last + TurnReader.shardInterval > .now { return [] }
        lastAskedShards = .now
        let whereabouts: TurnFinder.Whereabouts
        do {
            let (finder, turn, tenant) = (relay.finder, turn, tenant)
            whereabouts = try await onOwnStack { try await finder.find(turn, of: tenant) }
        } catch let error {
            // Its shard is away; or the log was there a moment ago, whatever became of its keys.
            guard TurnReader.isOutage(error) || hasSeenLog && error as? APIError == .unknownTurn else { throw error }
            return []
        }
        guard case .settled(let outcome) = whereabouts else { return [] }
        return admitted(outcome.events(from: sequence.next))
    }

    private mutating func admitted(_ new: [TurnEvent]) -> [TurnEvent] {
        var events: [TurnEvent] = []
        _ = sequence.admit(new, into: &events)
        return events
    }
}

/// The index arithmetic of a reader: drops what was seen, notices what is missing.
struct EventSequence {
    enum Admission { case complete, gap }

    /// The index of the next token.
    private(set) var next: Int
    private(set) var hasEnded = false

    init(next: Int) { self.next = next }

    /// Appends to `output` what comes next in order. Says `.gap` when events were left out because earlier ones are missing.
    mutating func admit(_ events: [TurnEvent], into output: inout [TurnEvent]) -> Admission {
        for event in events where !hasEnded {
            switch event {
            case .token(let index, _):
                guard index <= next else { return .gap }
                guard index == next else { continue }
                next += 1
            case .end(let count, _):
                // A client may claim to have seen more than there is; the end is the end all the same.
                guard count <= next else { return .gap }
                hasEnded = true
            case .waiting: break  // no place in the order: passed on as it comes
            }
            output.append(event)
        }
        return .complete
    }
}
