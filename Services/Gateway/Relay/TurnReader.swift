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

    /// From where whose turn is read.
    struct Place: Sendable {
        let turn: TurnID
        let tenant: String
        /// The id of the key that asked, whose place it takes.
        let key: String
        /// The index of the first token that is wanted.
        let from: Int
        /// Whether the turn is known to be the tenant's; otherwise the reader finds out before it gives anything.
        let isKnown: Bool
    }

    let turn: TurnID
    /// The relay knows the reader by it.
    let token: UInt64
    /// Set when this gateway drains and lets go of the client: the pause to ask it for before it comes back elsewhere.
    private(set) var leave: Duration?

    /// When the first of the latest events was heard of; nil when none of them came as a hint.
    private(set) var heard: ContinuousClock.Instant?

    private let tenant: String
    private var sequence: EventSequence
    private let relay: TurnRelay
    /// Whether the turn is known to be the tenant's.
    private var isKnown: Bool
    private var hasSeenLog = false
    private var missingSince: ContinuousClock.Instant?
    private var lastAskedShards: ContinuousClock.Instant?
    private var lastNews = ContinuousClock.now
    private var lastRead = ContinuousClock.now

    init(_ place: Place, relay: TurnRelay, token: UInt64) {
        (turn, tenant, isKnown) = (place.turn, place.tenant, place.isKnown)
        sequence = EventSequence(next: place.from)
        self.relay = relay
        self.token = token
    }

    /// Takes what the relay brought: gives the events that come next, and says whether the log has to be read for more.
    mutating func take(_ news: [TurnRelay.News], hasGap: Bool) -> (events: [TurnEvent], mustRead: Bool) {
        heard = nil
        var events: [TurnEvent] = []
        var mustRead = hasGap
        for news in news {
            switch news {
            case .events(let new, let heard):
                lastNews = heard
                self.heard = self.heard ?? heard
                // Until it is known whose turn it is, nobody is given anything of it.
                guard isKnown else {
                    mustRead = true
                    continue
                }
                if sequence.admit(new, into: &events) == .gap { mustRead = true }
            case .reread, .seek: mustRead = true
            case .leave(let pause): leave = pause
            case .tick: if lastNews + TurnReader.silence < .now { mustRead = true }
            }
        }
        if lastRead + TurnReader.renewal < .now { mustRead = true }
        return (events, mustRead)
    }

    /// Registers for hints and reads the log from here on.
    /// - Throws: `APIError.unknownTurn` when there is no such turn, `.unavailable` when it was out of reach for too long.
    mutating func read() async throws -> [TurnEvent] {
        let found: [TurnEvent]?
        do {
            found = try await look()
        } catch let error where TurnReader.isOutage(error) {
            // Redis is away for a moment: the stream waits, and the next tick tries again.
            guard lastRead + TurnReader.patience > .now else { throw APIError.redis(error) }
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
            guard try await relay.finder.record(of: turn, tenant: tenant) != nil else { return nil }
            isKnown = true
        }
        let answer = try await relay.log.follow(turn, reader: relay.name, from: sequence.next)
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
            whereabouts = try await relay.finder.find(turn, of: tenant)
        } catch let error {
            // Its shard is away; or the log was there a moment ago, whatever became of its keys.
            guard TurnReader.isOutage(error) || hasSeenLog && error == .unknownTurn else { throw error }
            return []
        }
        guard case .settled(let outcome) = whereabouts else { return [] }
        let next = sequence.next
        do {
            return admitted(try await relay.pool.run(bytes: outcome.eventBytes) { _ in outcome.events(from: next) })
        } catch is WorkPool.Full {
            return []
        }
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
