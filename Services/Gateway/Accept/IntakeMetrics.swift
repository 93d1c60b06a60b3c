import ChatCore
import Metrics
import ServiceKit

/// Counts what became of requests for turns.
struct IntakeMetrics: Sendable {
    private let accepted: [Tier: ByKind<Counter>]
    private let refused: [String: Counter]

    /// The codes with which an intake refuses; any other one counts as `other`.
    private static let reasons = [
        "invalid_request", "not_found", "rate_limited", "overloaded", "unavailable", "idempotency_key_reused",
        "idempotency_key_in_use", TurnFailure.Code.contextLengthExceeded.rawValue, IntakeMetrics.other,
    ]
    private static let other = "other"

    init() {
        accepted = Dictionary(
            uniqueKeysWithValues: Tier.allCases.map { tier in
                func counter(_ kind: Turn.Kind) -> Counter { Measures.turnsAccepted(kind.rawValue, tier.rawValue) }
                return (tier, ByKind(stream: counter(.stream), chat: counter(.chat), batch: counter(.batch)))
            })
        refused = Dictionary(uniqueKeysWithValues: IntakeMetrics.reasons.map { ($0, Measures.turnsRefused($0)) })
    }

    func accepted(_ kind: Turn.Kind, _ tier: Tier) { accepted[tier]?[kind].increment() }

    func refused(_ error: APIError) { (refused[error.code] ?? refused[IntakeMetrics.other])?.increment() }
}
