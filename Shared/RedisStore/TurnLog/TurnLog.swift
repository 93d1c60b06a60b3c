import ChatCore
import ServiceKit

/// The log of a turn: what clients see of it, the lease of the orchestrator that writes it, and who reads it.
///
/// Keys, all with the turn's hash tag: stream `turn:{id}` (tokens and the terminal event), hash `turn:{id}:record`
/// (owner, lease, plan, outcome), sorted set `turn:{id}:readers` (gateways that want hints). Every operation is one Lua
/// script: atomic, one round trip, on the server's clock. All keys go `retention` after the end, or after the deadline.
public struct TurnLog: Sendable {
    let pool: RedisPool
    let retention: Duration
    let readerLifetime: Duration
    /// A log may have as many tokens as a model's context.
    let work: WorkPool

    /// - Parameters:
    ///   - retention: time that an ended turn's log stays.
    ///   - readerLifetime: a reader that has not called `follow` for this long counts as gone.
    public init(
        pool: RedisPool, retention: Duration = .seconds(3600), readerLifetime: Duration = .seconds(20),
        work: WorkPool = .shared
    ) {
        self.pool = pool
        self.work = work
        self.retention = retention
        self.readerLifetime = readerLifetime
    }

    public struct Token: Sendable, Equatable {
        public let id: Int32
        public let text: String

        public init(id: Int32, text: String) {
            self.id = id
            self.text = text
        }
    }

    /// The right to write a turn's log until somebody acquires it with a higher epoch.
    public struct Lease: Sendable, Equatable {
        public let turn: TurnID
        public let epoch: Int64
        public let owner: String
        /// Of the turn: an append is made for every few tokens, and would write them anew each time.
        let keys: [String]

        public init(turn: TurnID, epoch: Int64, owner: String) {
            self.turn = turn
            self.epoch = epoch
            self.owner = owner
            keys = TurnLog.keys(turn)
        }
    }

    /// What earlier holders of the lease left behind.
    public struct Progress: Sendable, Equatable {
        /// All tokens logged so far, from index 0.
        public let tokens: [Token]
        public let plan: [UInt8]?
        /// Recorded, not yet shown to readers.
        public let outcome: [UInt8]?
        public let hasEnded: Bool
        public let cancelReason: String?
        public let attempts: Attempts
        /// How often the turn was put on the retry ladder.
        public let retries: Int
        /// The latest attempts, oldest first.
        public let history: [TurnOutcome.Attempt]

        public var cancelRequested: Bool { cancelReason != nil }

        public init(
            tokens: [Token] = [], plan: [UInt8]? = nil, outcome: [UInt8]? = nil, hasEnded: Bool = false,
            cancelReason: String? = nil, attempts: Attempts = .init(total: 0, withoutProgress: 0), retries: Int = 0,
            history: [TurnOutcome.Attempt] = []
        ) {
            self.tokens = tokens
            self.plan = plan
            self.outcome = outcome
            self.hasEnded = hasEnded
            self.cancelReason = cancelReason
            self.attempts = attempts
            self.retries = retries
            self.history = history
        }
    }

    /// How an attempt ended, as its holder saw it.
    public struct Verdict: Sendable, Equatable {
        /// The attempt's number, from 1.
        public let attempt: Int
        public let reason: String
        /// It brought no token, and neither its holder nor a lack of room at the node was the cause.
        public let isFruitless: Bool

        public init(attempt: Int, reason: String, isFruitless: Bool) {
            self.attempt = attempt
            self.reason = reason
            self.isFruitless = isFruitless
        }
    }

    /// How often generation was begun.
    public struct Attempts: Sendable, Equatable {
        public let total: Int
        /// Ended without a token since the log last advanced, by the word of a holder that lived: what poison is told by.
        public let withoutProgress: Int

        public init(total: Int, withoutProgress: Int) {
            self.total = total
            self.withoutProgress = withoutProgress
        }
    }

    /// Who waits for the turn's tokens, on the server's clock.
    public struct Audience: Sendable, Equatable {
        /// Gateways that follow the turn.
        public let readers: Int
        /// How long there has been no reader (since accept, if there was never one); nil while there is one.
        public let absentForMilliseconds: Int64?
        public let cancelReason: String?

        public var cancelRequested: Bool { cancelReason != nil }

        public init(readers: Int, absentForMilliseconds: Int64? = nil, cancelReason: String? = nil) {
            self.readers = readers
            self.absentForMilliseconds = absentForMilliseconds
            self.cancelReason = cancelReason
        }
    }

    /// What is known of a turn from its acceptance on.
    public struct Record: Sendable, Equatable {
        public let owner: UserKey
        public let conversation: ConversationID
        public let kind: Turn.Kind
        /// Unix times in milliseconds of the Redis clock.
        public let acceptedAt: Int64
        public let deadline: Int64
        public let hasEnded: Bool
        /// The number of tokens logged so far.
        public let next: Int

        public init(
            owner: UserKey, conversation: ConversationID, kind: Turn.Kind, acceptedAt: Int64, deadline: Int64,
            hasEnded: Bool, next: Int
        ) {
            self.owner = owner
            self.conversation = conversation
            self.kind = kind
            self.acceptedAt = acceptedAt
            self.deadline = deadline
            self.hasEnded = hasEnded
            self.next = next
        }
    }

    public enum Reservation: Sendable, Equatable {
        case reserved
        /// The id was given out before: nothing was changed.
        case existed(Record)
    }

    public enum Acquisition: Sendable, Equatable {
        case acquired(Lease, Progress)
        /// A lease exists and this delivery is not a redelivery: a duplicate publish, to be held until the turn ends.
        case held(owner: String)
        case ended
        /// No record, and none was to be made.
        case unknown
    }

    public enum AppendResult: Sendable, Equatable {
        case appended(Audience)
        /// The lease is not ours any more (or the turn has ended): stop working on the turn.
        case fenced
        /// `first` is not the next index; nothing was written. After an unclear failure it tells what arrived.
        case gap(expected: Int)
    }
}
