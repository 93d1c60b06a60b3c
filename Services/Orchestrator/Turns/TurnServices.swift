import ModelFile
import RabbitQueue
import RedisStore
import TurnProtocol

/// What every turn at this orchestrator uses.
struct TurnServices: Sendable {
    /// This process' name: lease owner and inbox.
    let name: String
    let model: String
    let detachGrace: Duration
    let log: TurnLog
    let order: ConversationOrder
    let ending: TurnEnding
    let clock: RedisClock
    let redis: RedisPool
    let history: HistorySource
    let planner: PromptPlanner
    let nodes: NodePool
    let mail: TurnMail
    let publisher: RabbitPublisher
}
