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
    /// - Parameters:
    ///   - responseShards: the shards' names as in `response_queue.<shard>`.
    ///   - maximumLength: the bound of each turn, job, retry and response queue, in messages.
    public static func platform(responseShards: [String], maximumLength: Int64 = 100_000) -> Topology {
        var queues = [QueueDeclaration.deadLetters()]
        queues += (turnQueues + [jobQueue]).map { .work($0, maximumLength: maximumLength) }
        queues += RetryLadder().declarations(maximumLength: maximumLength)
        queues += responseShards.map { .responses(shard: $0, maximumLength: maximumLength) }
        return Topology(queues: queues)
    }
}
