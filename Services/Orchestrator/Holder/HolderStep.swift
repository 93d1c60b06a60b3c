import ChatCore
import RedisStore
import TurnProtocol

/// The one thing that a turn's holder does next. Whoever drives the holder does it and says what came of it.
enum HolderStep: Equatable {
    /// Take the turn's lease; `creates` a record that Redis does not have.
    case acquire(Taking, creates: Bool)
    /// Ask whether the orchestrator that holds the lease is alive.
    case findOwner(String)
    case pause(milliseconds: Int)
    /// Put the turn into its conversation's order (again), and tell the head.
    case joinOrder
    /// Begin to find the history and to plan the prompt; the result comes as news. `insists` on a predecessor of which
    /// nothing is known.
    case plan(insists: Bool)
    /// Begin to wait for a place at a node; it comes as news.
    case seekPlace(numericsID: String?)
    /// Take a free place for a second job beside the first one's, if the budget allows it; do not wait.
    case seekHedge(numericsID: String, besides: String)
    /// Wait for news.
    case listen
    /// Count an attempt at the place's node, and store the plan.
    case begin(HolderPlace, [TurnLog.Verdict])
    /// Send the job to its node.
    case order(HolderJob)
    /// Append the tokens from `first` on; none are left when `first` is the end: then it is a look at lease and audience.
    case append(first: Int, isFinal: Bool)
    /// Let a job go: its place is given back; `cancels` tells the node, `avoids` leaves the node alone for a moment.
    case drop(HolderJob, cancels: Bool, avoids: Bool)
    case giveBackPlace(HolderPlace, avoids: Bool)
    /// Stop what runs in the background: planning, or waiting for a place.
    case stopWaiting
    /// See whether the turn's record exists.
    case lookForRecord
    /// Store the plan in a record that was made again.
    case keepPlan
    case end(EndingStep, TurnEnd.How)
    /// Clear what an ended turn may have left in its conversation's order and its user's count.
    case tidyUp
    /// The same, if the turn has ended meanwhile: this holder may have put it there again after its end.
    case tidyUpIfEnded
    /// Leave a dead letter, with the reason, for an operator.
    case bury(reason: String)
    /// Publish the turn to the rung of the retry ladder that holds it for so long.
    case publishToRung(seconds: Int)
    /// Give the lease back; `parks` says that the turn waits on a rung.
    case release(parks: Bool, [TurnLog.Verdict])
    /// Give back the lease of a delivery that is gone, if nobody has taken it yet: whoever gets the next one is not to
    /// wait for a holder that lives, but works on the turn no more.
    case letGo(TurnLog.Lease)
    case acknowledge
    /// Give the delivery back to the broker, for another to go on.
    case reject
    /// Nothing more is to be done.
    case leave
}

/// From whom a lease may be taken.
enum Taking: Equatable {
    case nobody
    /// Whoever has it: the broker gave the delivery to us.
    case anybody
    case owner(String)
}

/// What came of a step.
enum HolderResult {
    case done
    /// - Parameters:
    ///   - plan: the record's, read; nil when it has none that this version can read.
    ///   - isHeldHere: whether another runner of this process works on the turn.
    case acquisition(TurnLog.Acquisition, plan: TurnPlan? = nil, isHeldHere: Bool)
    case owner(isAlive: Bool)
    case head(TurnID?)
    case news([HolderNews], hasGap: Bool)
    /// No news can come any more: another runner of this process has the turn.
    case closed
    case place(HolderPlace?)
    case begun(TurnLog.Attempts, plan: TurnPlan, startedAt: Int64)
    /// The node did not take the job; `isUnclear` when it may have.
    case notTaken(isUnclear: Bool)
    case appended(TurnLog.AppendResult)
    case record(exists: Bool)
    /// The lease is another's, or Redis lost the record.
    case fenced
    /// `isPassing`: the same step may succeed later.
    case failed(isPassing: Bool)
    /// This process drains.
    case draining
}

/// What a holder hears while it listens.
enum HolderNews: Equatable {
    case tokens(TokenBatch.Item)
    case nodeLost(String)
    case cancelRequested
    /// Time passes; about every second.
    case tick
    case becameHead
    case prepared(Preparation)
    case placed(HolderPlace)
    /// No living node can hold the plan, which no attempt has stored yet.
    case plannedTooLarge

    enum Preparation: Equatable {
        case plan(TurnPlan)
        /// The same, and an identical turn's answer to it.
        case answered(TurnPlan, CachedAnswer)
        /// The turn can never be planned, for this reason.
        case refused(String)
        /// Planning it began so often and was never over: it ends its orchestrators.
        case deadly(Int)
        /// The history cannot be read now.
        case unavailable(String)
    }
}

/// A place at a node, as far as decisions go; `id` names it for whoever gives it back.
struct HolderPlace: Equatable, Sendable {
    let id: UInt64
    let node: String
    let numericsID: String
}

/// A job at a node.
struct HolderJob: Equatable {
    let place: HolderPlace
    /// The lease's epoch and the attempt's number when it was ordered; the node's items carry both.
    let epoch: Int64
    let attempt: Int
    /// Tokens that the turn had then.
    let start: Int
    /// On the monotonic clock, in milliseconds.
    var lastHeard: Int64
    var isHedge = false
    /// Tokens of it are missing.
    var isBroken = false
}

extension TurnEnd {
    /// How a turn came to its end, before there is an outcome.
    struct How: Equatable {
        let status: TurnOutcome.Status
        let reason: TurnOutcome.FinishReason
        var error: String?

        static func failed(_ error: String) -> How { How(status: .failed, reason: .error, error: error) }
        static let cancelled = How(status: .cancelled, reason: .cancelled)
        static func done(_ reason: TurnOutcome.FinishReason) -> How { How(status: .done, reason: reason) }
    }
}
