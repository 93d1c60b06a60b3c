import ChatCore
import RedisStore
import ServiceKit

/// One client's place in a turn's log: gives every event from that place on exactly once and in order.
struct TurnReader {
    /// After this long without news the log is read again, which also renews the registration.
    private static let silence: Duration = .seconds(2)
    /// How long a log may be out of reach, or lost and not yet written again.
    private static let patience: Duration = .seconds(30)

    let turn: TurnID
    private var sequence: EventSequence
    private let mailbox: Mailbox<TurnRelay.News>
    private let relay: TurnRelay
    private var isRegistered = false
    private var hasSeenLog = false
    private var lastNews = ContinuousClock.now
    private var lastRead = ContinuousClock.now

    init(turn: TurnID, from: Int, mailbox: Mailbox<TurnRelay.News>, relay: TurnRelay) {
        self.turn = turn
        self.sequence = EventSequence(next: from)
        self.mailbox = mailbox
        self.relay = relay
    }

    /// What came next: new events; an empty list about once a second while nothing does; nil when the task is
    /// cancelled.
    /// - Throws: `APIError.unknownTurn` when the log is not (or no longer) there.
    mutating func next() async throws -> [TurnEvent]? {
        if !isRegistered {
            // The mailbox stands already: what is appended between this read and now waits in it.
            isRegistered = true
            let events = try await read()
            if !events.isEmpty { return events }
        }
        guard let delivery = await mailbox.receive() else { return nil }
        var events: [TurnEvent] = []
        var mustRead = delivery.hasGap
        for news in delivery.elements {
            switch news {
            case .events(let new):
                lastNews = .now
                if sequence.admit(new, into: &events) == .gap { mustRead = true }
            case .reread: mustRead = true
            case .tick:
                // The registration lasts 20 s at Redis; a busy stream renews it too.
                if lastNews + TurnReader.silence < .now || lastRead + .seconds(8) < .now { mustRead = true }
            }
        }
        if mustRead { events += try await read() }
        return events
    }

    private mutating func read() async throws -> [TurnEvent] {
        let answer: (events: [TurnEvent], exists: Bool)
        do throws(RedisError) {
            answer = try await relay.log.follow(turn, reader: relay.name, from: sequence.next)
        } catch {
            // Redis is away for a moment: the stream waits, and the next tick tries again.
            guard lastRead + TurnReader.patience > .now else { throw APIError.unavailable("Redis") }
            return []
        }
        guard answer.exists else {
            // It was there: Redis lost its memory, and the turn's holder is about to write the log again.
            guard hasSeenLog, lastRead + TurnReader.patience > .now else { throw APIError.unknownTurn }
            return []
        }
        hasSeenLog = true
        lastNews = .now
        lastRead = .now
        var events: [TurnEvent] = []
        _ = sequence.admit(answer.events, into: &events)
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
