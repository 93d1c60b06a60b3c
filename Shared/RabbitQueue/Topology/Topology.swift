/// The queues of the platform. Whoever uses a queue declares it when it connects, so no process must start first.
public struct Topology: Sendable {
    public static let streamQueue = "stream_queue"
    public static let chatQueue = "chat_queue"
    public static let batchQueue = "batch_queue"
    public static let jobQueue = "job_queue"
    public static let deadLetterQueue = "dead_letter_queue"
    /// The queues that carry turns.
    public static let turnQueues = [streamQueue, chatQueue, batchQueue]

    public static let responseQueuePrefix = "response_queue."
    public static func responseQueue(shard: String) -> String { responseQueuePrefix + shard }
    public static func responseQueue(shard: Int) -> String { responseQueue(shard: String(shard)) }
    /// - Parameter incarnation: one life of a node process, never used again.
    public static func nodeQueue(incarnation: String) -> String { "node.\(incarnation)" }

    public var queues: [QueueDeclaration]

    /// - Parameter queues: in the order in which they are declared. A dead letter's target comes before what dies into it.
    public init(queues: [QueueDeclaration]) {
        self.queues = queues
    }

    /// Every shared queue: dead letters, turns with their retry ladder, jobs, and a response queue for each shard.
    ///
    /// Together they may hold (4 + shards + 9/4) times the bytes of `bounds`: 8.25 GiB with two shards and 1 GiB.
    /// - Parameters:
    ///   - responseShards: the shards' names as in `response_queue.<shard>`.
    ///   - bounds: of each turn and response queue, of the dead letters in bytes; jobs and retries have a quarter of the
    ///     bytes each.
    public static func platform(responseShards: [String], bounds: QueueBounds = QueueBounds()) -> Topology {
        var queues = [QueueDeclaration.deadLetters(within: bounds)]
        queues += turnQueues.map { .work($0, within: bounds) } + [.work(jobQueue, within: bounds.quarter)]
        queues += RetryLadder().declarations(within: bounds)
        queues += responseShards.map { .responses(shard: $0, within: bounds) }
        return Topology(queues: queues)
    }

    /// The declarations of some of its queues, in its order.
    public func queues(named names: Set<String>) -> [QueueDeclaration] { queues.filter { names.contains($0.name) } }
}
