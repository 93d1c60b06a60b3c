import ModelFile
import RabbitQueue
import RedisStore
import TraceKit
import TurnProtocol

/// What every turn at this orchestrator uses.
struct TurnServices: Sendable {
    /// What this process is called where the living are listed.
    static let kind = "orchestrator"

    /// `rules.name` is this process' name: lease owner and inbox.
    let rules: HolderRules
    let model: String
    let log: TurnLog
    let order: ConversationOrder
    let ending: TurnEnding
    let clock: RedisClock
    let redis: RedisPool
    let history: HistorySource
    let planners: PromptPlanners
    let answers: SharedAnswers
    let nodes: NodePool
    let mail: TurnMail
    let presence: Presence
    let parking: Parking
    let cancels: CancelOrders
    let hedging: Hedging
    let publisher: RabbitPublisher
    let metrics: TurnMetrics
    var tracer: SpanTracer?
}
