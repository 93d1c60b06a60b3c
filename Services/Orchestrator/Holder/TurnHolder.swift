import ChatCore
import RedisStore
import TurnProtocol

/// The decisions of an orchestrator that has a turn's delivery: who holds it, what is to be generated where, what its news
/// mean, when it is tried again, how it ends. Pure: each call takes what came of the last step and gives the next one; clock
/// and randomness are given to it.
///
/// Whatever goes wrong, one of four things happens: the turn goes on here; it ends, with a reason; it waits on a rung of
/// the retry ladder; or its delivery goes back to the broker, and another orchestrator goes on from the log.
struct TurnHolder<Random: RandomNumberGenerator> {
    /// What the driver sees whenever it asks.
    struct Seen {
        /// Milliseconds of the Redis clock, on which deadlines are. Somebody may set it, forward or back.
        var now: Int64
        /// Milliseconds of the process' monotonic clock, which nobody sets: silences and intervals are measured on it.
        var uptime: Int64
        /// Whether the channel of the delivery still stands. When not, the broker gives it to another.
        var isDeliveryLive: Bool
        /// Tokens that the roomiest node can hold that the turn may go to; nil when there is none or nobody asked.
        var roomiestNode: Int?
    }

    enum Stage: Equatable {
        case acquiring
        /// Another has the turn: this is a duplicate, or the other is about to let go.
        case duplicate
        case toOrder, waitingForHead
        case toPlan, planning
        case toSeek, seeking
        case toBegin(HolderPlace, isHedge: Bool)
        case toJob(HolderJob)
        case toHedge
        case following
        case leaving
    }

    /// A try that is to come later.
    struct Retry: Equatable {
        let reason: String
        /// Whether the turn has failed when no rung of the ladder is short enough for the time that it has left.
        var isLast = false
    }

    /// What is to be done about a log that is not where it was left.
    enum Recovery: Equatable { case none, looking, reacquiring }

    let turn: Turn
    let rules: HolderRules
    /// Whether the broker gave the turn out before.
    let isRedelivered: Bool
    var random: Random

    var stage = Stage.acquiring
    var recovery = Recovery.none
    /// What is done before anything else, in this order.
    var chores: [HolderStep] = []
    /// The step whose result comes next.
    var step: HolderStep
    /// The step to repeat after a pause, and how often it failed.
    var repeated: HolderStep?
    var failures = 0
    /// When a store last failed, on the monotonic clock; what the log says of readers then begins anew.
    var lastFailure: Int64?

    var lease: TurnLog.Lease?
    var plan: TurnPlan?
    /// The turn's tokens; the first `logged` of them stand in the log.
    var ids: [Int32] = []
    var logged = 0
    /// The turn whose answer they are, when they are another's.
    var answerOf: TurnID?
    var mustLook = false
    /// When lease and audience were last seen, on the monotonic clock: every append sees them.
    var lastLook: Int64 = 0
    var mustJoin = false
    var isCancelled = false
    var jobs: [HolderJob] = []
    /// What generation came to; acted on when its tokens are logged.
    var how: TurnEnd.How?
    /// The step at which the turn's ending is.
    var ending: EndingStep?
    /// Why the turn is to be tried again later; acted on when its tokens are logged.
    var retry: Retry?
    /// Why the turn is to be given up.
    var poison: String?
    var retries = 0
    var attempts = 0
    var fruitless = 0
    var history: [TurnOutcome.Attempt] = []
    /// Verdicts that the record does not have yet.
    var verdicts: [TurnLog.Verdict] = []
    var engineFirstToken: Double?
    var looks = 0

    /// - Parameter first: the step to begin with is `step`.
    init(_ turn: Turn, redelivered: Bool, rules: HolderRules, random: Random) {
        self.turn = turn
        self.rules = rules
        self.random = random
        isRedelivered = redelivered
        step = .acquire(redelivered ? .anybody : .nobody, creates: true)
    }

    /// Takes what came of `step` and says what to do next.
    mutating func resume(_ result: HolderResult, _ seen: Seen) -> HolderStep {
        switch result {
        case .failed(isPassing: true):
            guard seen.isDeliveryLive || isFarewell(step) else {
                abandon(seen)
                return proceed(seen)
            }
            repeated = step
            failures += 1
            lastFailure = seen.uptime
            return issue(.pause(milliseconds: pauseAfterFailure()))
        case .failed(isPassing: false):
            // Nothing foreseen: the message counts one more return, and becomes a dead letter when it keeps happening.
            handBack(after: Int.random(in: rules.pauseBeforeReturn, using: &random))
            return proceed(seen)
        case .draining:
            handBack()
            return proceed(seen)
        default:
            break
        }
        if case .pause = step, let again = repeated {
            repeated = nil
            if !seen.isDeliveryLive, !isFarewell(again) {
                abandon(seen)
            } else if case .publishToRung = again, seen.now >= turn.deadline {
                leave(as: .failed("the turn's deadline has passed"))
            } else {
                return issue(again)
            }
            return proceed(seen)
        }
        failures = 0
        take(result, seen)
        return proceed(seen)
    }

    /// Whether the step may be done for a delivery that is gone.
    private func isFarewell(_ step: HolderStep) -> Bool {
        switch step {
        case .drop, .giveBackPlace, .stopWaiting, .letGo, .tidyUpIfEnded, .leave: true
        default: false
        }
    }

    /// Exponential, with full jitter: 20 ms to one second.
    private mutating func pauseAfterFailure() -> Int {
        Int.random(in: 20...min(1000, 20 << min(failures, 6)), using: &random)
    }

    mutating func issue(_ step: HolderStep) -> HolderStep {
        self.step = step
        return step
    }

    /// The next step, found from what is known: nothing depends on which news came first.
    private mutating func proceed(_ seen: Seen) -> HolderStep {
        if !chores.isEmpty { return issue(chores.removeFirst()) }
        switch recovery {
        case .looking: return issue(.lookForRecord)
        case .reacquiring: return issue(.acquire(.nobody, creates: true))
        case .none: break
        }
        if lease != nil, stage != .leaving || ending != nil {
            guard seen.isDeliveryLive else {
                abandon(seen)
                return proceed(seen)
            }
            if logged < ids.count || mustLook {
                mustLook = false
                return issue(.append(first: logged, isFinal: how?.status == .done))
            }
            if let ending, let how { return issue(.end(ending, how)) }
            decideToLeave(seen)
            if !chores.isEmpty { return proceed(seen) }
        }
        switch stage {
        case .acquiring: return issue(.acquire(.nobody, creates: true))
        case .duplicate: return issue(.acquire(.nobody, creates: false))
        case .toOrder: return issue(.joinOrder)
        case .toPlan:
            stage = .planning
            return issue(.plan(insists: retries < rules.retriesForPredecessor))
        case .toSeek:
            stage = .seeking
            return issue(.seekPlace(numericsID: plan?.numericsID))
        case .toBegin(let place, _):
            let due = verdicts
            return issue(.begin(place, due))
        case .toJob(let job): return issue(.order(job))
        case .toHedge:
            guard let first = jobs.first, let numericsID = plan?.numericsID else {
                stage = .following
                return proceed(seen)
            }
            return issue(.seekHedge(numericsID: numericsID, besides: first.place.node))
        case .following where jobs.isEmpty:
            stage = .toSeek
            return proceed(seen)
        case .waitingForHead where mustJoin:
            mustJoin = false
            return issue(.joinOrder)
        case .waitingForHead, .planning, .seeking, .following: return issue(.listen)
        case .leaving: return issue(.leave)
        }
    }

    private mutating func take(_ result: HolderResult, _ seen: Seen) {
        switch result {
        case .acquisition(let acquisition, let plan, let isHeldHere):
            lastLook = seen.uptime
            take(acquisition, plan, isHeldHere: isHeldHere)
        case .owner(let isAlive): take(ownerIsAlive: isAlive)
        case .head(let head): take(head: head)
        case .news(let news, let hasGap): take(news, hasGap: hasGap, seen)
        case .closed: abandon(seen)
        case .place(let place): take(hedge: place)
        case .begun(let attempts, let plan, let startedAt): take(attempts, plan, startedAt, seen)
        case .notTaken(let isUnclear): take(notTakenUnclearly: isUnclear)
        case .appended(let result): take(result, seen)
        case .record(let exists): take(recordExists: exists, seen)
        case .fenced: takeFence(seen)
        case .done: takeDone(seen)
        case .failed, .draining: break
        }
    }
}
