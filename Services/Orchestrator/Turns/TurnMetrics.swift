import ChatCore
import Metrics
import RabbitQueue
import RedisStore
import ServiceKit
import Synchronization

/// The metrics of the turns at this orchestrator. A turn costs a handful of records, a token none.
final class TurnMetrics: Sendable {
    /// Handles of one kind and tier.
    private struct Handles {
        let wait: Timer
        let firstToken: Timer
        let whole: Timer
    }

    private struct State {
        var held = ByKind(repeating: 0)
        var newestDelivered: [String: Int64] = [:]
        var tenants = BoundedNames(capacity: TurnMetrics.namedTenants)
        var tokens: [TokenLabels: (prompt: Counter, completion: Counter)] = [:]

        mutating func tokens(of turn: Turn) -> (prompt: Counter, completion: Counter) {
            let labels = TokenLabels(
                tenant: ExactName(tenants.name(turn.conversation.owner.tenant)), tier: turn.tier ?? .standard)
            if let known = tokens[labels] { return known }
            func counter(_ type: String) -> Counter { Measures.tokens(labels.tenant.text, labels.tier.rawValue, type) }
            let made = (prompt: counter("prompt"), completion: counter("completion"))
            tokens[labels] = made
            return made
        }
    }

    private struct TokenLabels: Hashable {
        let tenant: ExactName
        let tier: Tier
    }

    /// Tenants that have series of their own; those that come later share one.
    static let namedTenants = 200

    private let handles: [Tier: ByKind<Handles>]
    private let held: ByKind<Gauge>
    private let waitingTurns: ByKind<Gauge>
    private let oldestWaiting: ByKind<Gauge>
    private let ended: [TurnOutcome.Status: ByKind<Counter>]
    private let resumptions: Counter
    private let state = Mutex(State())

    init() {
        handles = Dictionary(
            uniqueKeysWithValues: Tier.allCases.map { tier in
                func handles(_ kind: Turn.Kind) -> Handles {
                    Handles(
                        wait: Measures.turnWait(kind.rawValue, tier.rawValue),
                        firstToken: Measures.turnFirstToken(kind.rawValue, tier.rawValue),
                        whole: Measures.turnTime(kind.rawValue, tier.rawValue))
                }
                return (tier, ByKind(of: handles))
            })
        held = ByKind(of: { Measures.turnsHeld($0.rawValue) })
        waitingTurns = ByKind(of: { Measures.turnsWaiting($0.rawValue) })
        oldestWaiting = ByKind(of: { Measures.oldestWaitingTurn($0.rawValue) })
        ended = Dictionary(
            uniqueKeysWithValues: [TurnOutcome.Status.done, .failed, .cancelled].map { status in
                (status, ByKind(of: { Measures.turnsEnded(status.rawValue, $0.rawValue) }))
            })
        resumptions = Measures.turnResumptions()
        // A rate of what has never happened is 0, not nothing.
        for reason in RetryReason.allCases { _ = Measures.turnRetries(reason.rawValue) }
    }

    private func handles(of turn: Turn) -> Handles? { handles[turn.tier ?? .standard]?[turn.kind] }

    // MARK: A turn's way

    func delivered(_ turn: Turn, from queue: String) {
        state.withLock { state in
            // Three queues: nobody else's name comes here.
            state.newestDelivered[queue] = max(state.newestDelivered[queue] ?? 0, turn.acceptedAt)
            state.held[turn.kind] += 1
            // Under the lock, or an older number could be recorded last.
            held[turn.kind].record(state.held[turn.kind])
        }
    }

    func left(_ turn: Turn) {
        state.withLock { state in
            state.held[turn.kind] -= 1
            held[turn.kind].record(state.held[turn.kind])
        }
    }

    /// - Parameters:
    ///   - attempts: begun before this one, by whomever.
    ///   - time: Unix milliseconds of the Redis clock, here and below.
    ///   - verdicts: of those that ended since the last one began.
    func begun(_ turn: Turn, attempts: Int, at time: Int64, after verdicts: [TurnLog.Verdict]) {
        if attempts == 0 { handles(of: turn)?.wait.recordMilliseconds(time.milliseconds(since: turn.acceptedAt)) }
        count(verdicts)
    }

    func firstToken(of turn: Turn, at time: Int64) {
        handles(of: turn)?.firstToken.recordMilliseconds(time.milliseconds(since: turn.acceptedAt))
    }

    func tookOver() { resumptions.increment() }

    /// The turn goes to the retry ladder; without a verdict its history could not be read.
    func parked(_ verdicts: [TurnLog.Verdict]) {
        if verdicts.isEmpty { Measures.turnRetries(RetryReason.history.rawValue).increment() } else { count(verdicts) }
    }

    private func count(_ verdicts: [TurnLog.Verdict]) {
        for reason in verdicts.compactMap({ RetryReason(verdict: $0.reason) }) {
            Measures.turnRetries(reason.rawValue).increment()
        }
    }

    func ended(_ turn: Turn, _ outcome: TurnOutcome) {
        handles(of: turn)?.whole.recordMilliseconds(outcome.endedAt.milliseconds(since: outcome.acceptedAt))
        ended[outcome.status]?[turn.kind].increment()
        let tokens = state.withLock { $0.tokens(of: turn) }
        tokens.prompt.increment(by: outcome.usage.promptTokens)
        tokens.completion.increment(by: outcome.usage.completionTokens)
    }

    // MARK: All turns

    var newestDelivered: [String: Int64] { state.withLock { $0.newestDelivered } }

    func waiting(
        _ counts: ByKind<Int>, oldest: ByKind<ContinuousClock.Instant?>, at now: ContinuousClock.Instant
    ) {
        for kind in Turn.Kind.allCases {
            waitingTurns[kind].record(counts[kind])
            oldestWaiting[kind].record(oldest[kind].map { $0.duration(to: now) / .seconds(1) } ?? 0)
        }
    }
}

extension ByKind {
    fileprivate init(of make: (Turn.Kind) -> Value) {
        self.init(stream: make(.stream), chat: make(.chat), batch: make(.batch))
    }
}
