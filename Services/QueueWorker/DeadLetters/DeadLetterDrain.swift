import ChatCore
import Logging
import Metrics
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TraceKit
import Tracing
import TurnProtocol

/// Takes what died: ends the turn, for its client's sake, keeps the message in the directory, for the operator's, and
/// only then acknowledges. Each step may be repeated, so that a drain that is killed in the middle loses nothing and
/// doubles nothing.
struct DeadLetterDrain: Service {
    /// Letters that are worked on at a time. While the directory is away, so many turns are ended and the rest waits.
    static let prefetch = 64
    /// Of their bodies: room for 64 small letters, and for about 16 of the largest.
    static let maximumBytes = 40 << 20

    /// This process' name: lease owner of the turns that it ends.
    let name: String
    let model: String
    let consumer: RabbitConsumer
    let letters: DeadLetterRepository
    let conversations: ConversationRepository
    let ending: TurnEnding
    let clock: RedisClock
    let retention: Duration
    /// How long a turn's record stays after its deadline.
    let turnRetention: Duration
    let logger: Logger
    var tracer: SpanTracer?

    func run() async throws {
        // A rate of what has never happened is 0, not nothing.
        for cause in DeadLetter.Cause.allCases { _ = Measures.deadLetters(cause.rawValue) }
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await consumer.run() }
            group.addTask {
                await cancelWhenGracefulShutdown {
                    await withDiscardingTaskGroup { drained in
                        for await delivery in consumer.deliveries { drained.addTask { await drain(delivery) } }
                        drained.cancelAll()
                    }
                }
            }
            group.addTask { await prune() }
        }
    }

    private func drain(_ delivery: Delivery) async {
        var logger = logger
        var span: RecordedSpan?
        defer { span?.end() }
        do {
            let letter = try await DeadLetter.read(delivery, logger)
            logger[metadataKey: "turn"] = "\(letter.name)"
            if let trace = letter.trace { logger[metadataKey: "trace_id"] = "\(trace.trace)" }
            span = begin(letter, delivery)
            let patience = Patience(logger: logger) { delivery.isLive }
            try await end(letter, delivery, span, patience, logger)
            try await keep(letter, delivery, logger)
            try await delivery.acknowledge()
        } catch {
            // This process drains, or the delivery is gone: whoever gets it next begins from the start.
            logger.notice("a dead letter stays in its queue", metadata: ["error": "\(error)"])
            span?.fail("it stays in its queue")
            try? await Task { try await delivery.reject(requeue: true) }.value
        }
    }

    private func begin(_ letter: DeadLetter, _ delivery: Delivery) -> RecordedSpan? {
        guard let tracer else { return nil }
        let span = tracer.startSpan(
            "bury \(Topology.deadLetterQueue)", context: .under(letter.trace), ofKind: .consumer)
        var attributes = SpanAttributes.messaging(
            .process, "bury", queue: delivery.queue, message: letter.messageID, bytes: delivery.body.count)
        attributes["switchboard.died_in"] = letter.queue
        attributes["switchboard.redelivered"] = delivery.redelivered
        span.attributes = attributes
        return span
    }

    // MARK: The turn

    /// Repeats until the turn has ended or nobody can wait for it any more: the letter is its only message, and to
    /// acknowledge it before would leave a turn without an end.
    private func end(
        _ letter: DeadLetter, _ delivery: Delivery, _ span: RecordedSpan?, _ patience: Patience, _ logger: Logger
    ) async throws {
        var backoff = Backoff(base: .milliseconds(200), cap: .seconds(5))
        while true {
            do {
                return try await endOnce(letter, span, patience, logger)
            } catch let error where !DeadLetterDrain.isInterruption(error) {
                // Something in Redis that repetition alone does not mend. The letter is kept, and with it the reason to
                // look; whoever mends it finds the turn still tried.
                logger.error("a dead letter's turn cannot be ended yet", metadata: ["error": "\(error)"])
                guard try await isAwaited(letter, patience) else { return }
                try await keep(letter, delivery, logger)
            }
            try Task.checkCancellation()
            guard delivery.isLive else { throw Abandoned.fenced }
            try await Task.sleep(for: backoff.next())
        }
    }

    private func endOnce(
        _ letter: DeadLetter, _ span: RecordedSpan?, _ patience: Patience, _ logger: Logger
    ) async throws {
        switch letter.content {
        case .turn(var turn):
            // What settles its outcome comes after this, not after its accept.
            if let span { turn.trace = span.trace }
            try await fail(turn, error: letter.error, patience, logger)
        case .unreadableTurn(let id):
            // The record says whose it is; without one nobody is known to wait.
            let log = ending.log
            guard let record = try await patience({ try await log.record(of: id) }), !record.hasEnded else { return }
            try await fail(Turn(id, of: record), error: letter.error, patience, logger)
        case .outcome, .unreadable: break
        }
    }

    /// Whether Redis has the turn's record without an end. One that cannot be read counts for as long as it would last.
    private func isAwaited(_ letter: DeadLetter, _ patience: Patience) async throws -> Bool {
        guard let id = letter.turn else { return false }
        let log = ending.log
        do {
            guard let record = try await patience({ try await log.record(of: id) }) else { return false }
            return !record.hasEnded
        } catch let error where !DeadLetterDrain.isInterruption(error) {
            var deadline = Int64(clamping: id.milliseconds)
            if case .turn(let turn) = letter.content { deadline = turn.deadline }
            let lifetime = Int64(turnRetention / .milliseconds(1))
            let (end, isEndless) = deadline.addingReportingOverflow(lifetime)
            let clock = clock
            return try await patience { try await clock.now() } < (isEndless ? .max : end)
        }
    }

    private func fail(_ turn: Turn, error: String, _ patience: Patience, _ logger: Logger) async throws {
        let log = ending.log
        if try await patience({ try await log.record(of: turn.id) }) == nil, await isSettled(turn, logger) {
            // It ended long ago, and Redis has forgotten: a second copy of it died.
            return try await patience { try await ending.tidyUp(turn) }
        }
        let verdict = try await ending.fail(
            turn, error: error, owner: name, model: model, clock: clock, patience: patience)
        if case .ended(let outcome) = verdict {
            logger.notice("a dead letter's turn ended", metadata: ["status": "\(outcome.status.rawValue)"])
        }
    }

    /// A shard that cannot say counts as no: the client is to hear of the failure, and what the shard has stays.
    private func isSettled(_ turn: Turn, _ logger: Logger) async -> Bool {
        let owner = turn.conversation.owner
        do throws(DatabaseError) {
            return try await conversations.turn(turn.id, tenant: owner.tenant, user: owner.user) != nil
        } catch {
            logger.warning("a shard could not be asked for a turn", metadata: ["error": "\(error)"])
            return false
        }
    }

    private static func isInterruption(_ error: any Error) -> Bool { error is CancellationError || error is Abandoned }

    // MARK: The letter

    private func keep(_ letter: DeadLetter, _ delivery: Delivery, _ logger: Logger) async throws {
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        while true {
            do throws(DatabaseError) {
                let isNew = try await letters.keep(
                    queue: letter.queue, messageID: letter.messageID, reason: letter.reason, turn: letter.turn,
                    owner: letter.owner, body: letter.body)
                guard isNew else { return }
                Measures.deadLetters(letter.cause.rawValue).increment()
                return logger.warning(
                    "a dead letter is kept", metadata: ["queue": "\(letter.queue)", "reason": "\(letter.reason)"])
            } catch {
                // What does not pass by itself (a missing table) holds letters up until somebody acts, and loses none.
                logger.log(
                    level: error.isTransient ? .warning : .error, "a dead letter cannot be kept yet",
                    metadata: ["error": "\(error)"])
            }
            try Task.checkCancellation()
            guard delivery.isLive else { throw Abandoned.fenced }
            try await Task.sleep(for: backoff.next())
        }
    }

    private func prune() async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do throws(DatabaseError) {
                    let count = try await letters.prune(olderThan: retention)
                    if count > 0 { logger.notice("old dead letters were dropped", metadata: ["count": "\(count)"]) }
                } catch {
                    logger.warning("old dead letters could not be dropped", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: .seconds(3600))
            }
        }
    }
}

extension Turn {
    /// As much of a turn as its record knows: whose it is, not what it said.
    fileprivate init(_ id: TurnID, of record: TurnLog.Record) {
        self.init(
            id: id, conversation: ConversationKey(owner: record.owner, id: record.conversation),
            beginsConversation: false, kind: record.kind, message: "", system: nil, context: [], model: nil,
            sampling: Sampling(maxTokens: 1, seed: 0), acceptedAt: record.acceptedAt, deadline: record.deadline)
    }
}

extension DeadLetter {
    /// Reads a letter of any size; while the pool is full it waits, and stays in its queue.
    /// - Throws: `Abandoned.fenced`, `CancellationError`.
    static func read(
        _ delivery: Delivery, on pool: WorkPool = .shared, _ logger: Logger
    ) async throws -> DeadLetter {
        try await Patience(logger: logger) { delivery.isLive }.callAsFunction {
            try await pool.run(bytes: delivery.bytes) { _ in
                DeadLetter(body: delivery.body, messageID: delivery.id, death: delivery.death)
            }
        }
    }
}
