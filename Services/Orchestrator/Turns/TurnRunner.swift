import ChatCore
import Foundation
import Logging
import ModelFile
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit

/// What every turn at this orchestrator uses.
struct TurnServices: Sendable {
    /// This process' name: lease owner and inbox.
    let name: String
    let model: String
    let detachGrace: Duration
    let log: TurnLog
    let order: ConversationOrder
    let contexts: ContextCache
    let outstanding: OutstandingTurns
    let clock: RedisClock
    let redis: RedisPool
    let history: HistorySource
    let planner: PromptPlanner
    let nodes: NodePool
    let mail: TurnMail
    let publisher: RabbitPublisher
    let database: ShardedDatabase
}

/// Takes one turn from its delivery to its end: lease, order, plan, generate, end, acknowledge.
///
/// Whatever goes wrong, one of three things happens: the turn goes on here; it ends, with a reason; or its delivery is
/// left unacknowledged, and another orchestrator goes on from the log.
struct TurnRunner {
    /// Attempts that began and brought no token, after which the turn is given up as one that kills its nodes.
    private static let fruitlessAttempts = 5

    /// How a turn came to its end.
    struct Ending: Equatable {
        let status: TurnOutcome.Status
        let reason: TurnOutcome.FinishReason
        var error: String?

        static func failed(_ error: String) -> Ending { Ending(status: .failed, reason: .error, error: error) }
        static let cancelled = Ending(status: .cancelled, reason: .cancelled)
        static let expired = failed("the turn's deadline has passed")
    }

    /// Why a runner lets go of a turn without ending it.
    enum Abandoned: Error {
        /// The lease is another's, or the delivery's channel is gone.
        case fenced
    }

    /// How long a node that has begun may say nothing before its job is ordered anew. An item can be lost between node
    /// and orchestrator, and a lost last one leaves no gap to see.
    private static let silence: Duration = .seconds(20)

    let services: TurnServices
    let turn: Turn
    let delivery: Delivery
    let mailbox: Mailbox<TurnNews>
    var logger: Logger

    private var lease: TurnLog.Lease
    private var transcript: Transcript
    private var plan: TurnPlan?
    private var recorded: [UInt8]?
    private var cancelRequested: Bool
    private var attempts: Int
    /// The epoch under which the node's present job was ordered; its items carry it.
    private var jobEpoch: Int64
    private var firstTokenAt: Int64?
    private var engineFirstToken: Double?

    /// Runs the turn of a delivery to its end.
    /// - Throws: `CancellationError` when this process drains, `Abandoned` when the turn is another's; the delivery is
    ///   then unacknowledged.
    static func run(_ delivery: Delivery, turn: Turn, services: TurnServices, logger: Logger) async throws {
        var redelivered = delivery.redelivered
        while true {
            do {
                try await hold(delivery, turn, redelivered: redelivered, services, logger)
                return try await delivery.acknowledge()
            } catch is Abandoned {
                // While the delivery lives nobody else will get it: look again who has the turn, without taking it by
                // force. A log that Redis lost is made anew, a turn that another holds is waited for.
                guard delivery.isLive else { throw Abandoned.fenced }
                redelivered = false
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    private static func hold(
        _ delivery: Delivery, _ turn: Turn, redelivered: Bool, _ services: TurnServices, _ logger: Logger
    ) async throws {
        switch try await acquire(delivery, turn, redelivered: redelivered, services, logger) {
        case .acquired(let lease, let progress):
            let mailbox = services.mail.open(turn.id)
            defer { services.mail.close(turn.id, mailbox) }
            var runner = TurnRunner(services, turn, delivery, mailbox, lease, progress, logger)
            try await runner.runToEnd()
        case .held:
            // A duplicate publish: whoever holds the turn answers for it. This message goes when the turn has ended.
            try await waitForEnd(of: turn, services, delivery, logger)
        case .ended, .unknown:
            // Its last holder may have died before it tidied up.
            try await tidyUp(turn, services, delivery, logger)
        }
    }

    private static func acquire(
        _ delivery: Delivery, _ turn: Turn, redelivered: Bool, _ services: TurnServices, _ logger: Logger
    ) async throws -> TurnLog.Acquisition {
        func acquire(byForce: Bool) async throws -> TurnLog.Acquisition {
            try await patiently(delivery, logger) {
                try await services.log.acquire(turn, owner: services.name, redelivered: byForce)
            }
        }
        let acquisition = try await acquire(byForce: redelivered)
        // Held by this process, which does not work on it: an acquisition of ours whose reply was lost.
        if case .held(services.name) = acquisition, !services.mail.holds(turn.id) {
            return try await acquire(byForce: true)
        }
        return acquisition
    }

    private static func tidyUp(
        _ turn: Turn, _ services: TurnServices, _ delivery: Delivery, _ logger: Logger
    ) async throws {
        try await patiently(delivery, logger) {
            try await services.order.remove(turn.id, of: turn.conversation)
            try await services.outstanding.release(user: turn.conversation.owner, turn: turn.id)
        }
    }

    private init(
        _ services: TurnServices, _ turn: Turn, _ delivery: Delivery, _ mailbox: Mailbox<TurnNews>,
        _ lease: TurnLog.Lease, _ progress: TurnLog.Progress, _ logger: Logger
    ) {
        self.services = services
        self.turn = turn
        self.delivery = delivery
        self.mailbox = mailbox
        self.lease = lease
        self.logger = logger
        transcript = Transcript(
            tokenizer: services.planner.tokenizer, stop: turn.sampling.stop, logged: progress.tokens)
        plan = progress.plan.flatMap { try? TurnPlan(decoding: $0) }
        recorded = progress.outcome
        cancelRequested = progress.cancelRequested
        attempts = progress.attempts.total
        jobEpoch = lease.epoch
        if !progress.tokens.isEmpty {
            logger.notice("a turn goes on", metadata: ["from": "\(progress.tokens.count)", "epoch": "\(lease.epoch)"])
        }
    }

    private mutating func runToEnd() async throws {
        let ending: Ending
        do {
            // An outcome that an earlier holder recorded stands, whatever this one would do.
            ending = recorded == nil ? try await generateWhole() : .cancelled
        } catch is CancellationError {
            await letGo()
            throw CancellationError()
        }
        try await end(ending)
    }

    /// Drain: the next holder acquires at once.
    private func letGo() async {
        let log = services.log
        let lease = lease
        // In a task of its own: this one is cancelled, and its calls would not wait for their replies.
        await Task { _ = try? await log.release(lease) }.value
    }
}

// MARK: Waiting

extension TurnRunner {
    /// Everything before the end.
    private mutating func generateWhole() async throws -> Ending {
        if cancelRequested { return .cancelled }
        if try await TurnRunner.isPast(turn.deadline, services) { return .expired }
        if turn.beginsConversation, !delivery.redelivered, plan == nil {
            // Nothing to wait for: a conversation's first turn is its head and has no history.
            do {
                return try await generate(services.planner.plan(turn, history: []))
            } catch let error as PromptPlanner.TooLong {
                return .failed(error.description)
            }
        }
        let prepared = try await untilInterrupted { [services, turn, plan, delivery, logger] in
            try await TurnRunner.waitForHead(of: turn, services, delivery, logger)
            if let plan { return plan }
            return try services.planner.plan(turn, history: try await services.history.history(before: turn))
        }
        switch prepared {
        case .interrupted(let ending): return ending
        case .failed(let error as PromptPlanner.TooLong): return .failed(error.description)
        case .failed(let error): throw error
        case .value(let prepared): return try await generate(prepared)
        }
    }

    /// Waits until all earlier turns of the conversation have ended.
    private static func waitForHead(
        of turn: Turn, _ services: TurnServices, _ delivery: Delivery, _ logger: Logger
    ) async throws {
        // Added again, in case Redis has lost what the gateway added.
        var head = try await patiently(delivery, logger) { try await services.order.add(turn) }
        var pause = Duration.milliseconds(10)
        while let first = head, first != turn.id {
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(250))
            head = try await patiently(delivery, logger) {
                // Nobody at the head, not even this turn: Redis has lost the order since.
                if let head = try await services.order.head(of: turn.conversation) { return head }
                return try await services.order.add(turn)
            }
        }
    }

    private enum Interruptible<Value: Sendable>: Sendable {
        case value(Value)
        case failed(any Error)
        case interrupted(Ending)
    }

    /// Runs `body`, but not beyond the turn's deadline, its cancellation, or the loss of its lease.
    private func untilInterrupted<Value: Sendable>(
        discard: @escaping @Sendable (Value) async -> Void = { _ in },
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Interruptible<Value> {
        let watch = watchInterruptions()
        let result = await withTaskGroup(of: Interruptible<Value>?.self) { group -> Interruptible<Value>? in
            group.addTask {
                do { return .value(try await body()) } catch { return Task.isCancelled ? nil : .failed(error) }
            }
            group.addTask {
                do { return .interrupted(try await watch()) } catch { return Task.isCancelled ? nil : .failed(error) }
            }
            var first: Interruptible<Value>?
            for await case .some(let result) in group {
                if first == nil {
                    first = result
                    group.cancelAll()
                } else if case .value(let late) = result {
                    await discard(late)  // it was granted in the moment of the interruption
                }
            }
            return first
        }
        guard !Task.isCancelled, let result else {
            if case .value(let late) = result { await discard(late) }
            throw CancellationError()
        }
        return result
    }

    private func watchInterruptions() -> @Sendable () async throws -> Ending {
        { [services, turn, delivery, lease, transcript] in
            while true {
                try await Task.sleep(for: .milliseconds(250))
                if try await TurnRunner.isPast(turn.deadline, services) { return .expired }
                guard delivery.isLive else { throw Abandoned.fenced }
                guard let result = try? await services.log.append(lease, first: transcript.next, tokens: []) else {
                    continue
                }
                switch result {
                case .appended(let audience): if TurnRunner.endsTurn(audience, turn, services) { return .cancelled }
                case .fenced: throw Abandoned.fenced
                case .gap: break
                }
            }
        }
    }

    static func isPast(_ deadline: Int64, _ services: TurnServices) async throws -> Bool {
        // Without Redis nobody knows its time, and nothing can be ended either: the turn goes on.
        guard let now = try? await services.clock.now() else { return false }
        return now >= deadline
    }

    /// Whether a turn that nobody reads, or that somebody cancelled, is to be given up.
    static func endsTurn(_ audience: TurnLog.Audience, _ turn: Turn, _ services: TurnServices) -> Bool {
        if audience.cancelRequested { return true }
        guard turn.kind != .batch, let absent = audience.absentForMilliseconds else { return false }
        return Duration.milliseconds(absent) > services.detachGrace
    }
}

// MARK: Generating

extension TurnRunner {
    private enum AttemptResult {
        case ended(Ending)
        /// This attempt is over, the turn is not: another node, or this one again, goes on from the log.
        case again
    }

    private mutating func generate(_ prepared: TurnPlan) async throws -> Ending {
        while true {
            if cancelRequested { return .cancelled }
            if try await TurnRunner.isPast(turn.deadline, services) { return .expired }
            let numericsID = plan?.numericsID
            let place: NodePool.Place
            if let free = await services.nodes.freePlace(numericsID: numericsID) {
                place = free
            } else {
                let waited = try await untilInterrupted(discard: { [services] in await services.nodes.release($0) }) {
                    [services, turn] in try await services.nodes.place(for: turn, numericsID: numericsID)
                }
                switch waited {
                case .interrupted(let ending): return ending
                case .failed(let error): throw error
                case .value(let found): place = found
                }
            }
            do {
                let result = try await attempt(prepared, at: place.node)
                await services.nodes.release(place)
                if case .ended(let ending) = result { return ending }
            } catch {
                await cancelAtNode(place.node.id)
                await services.nodes.release(place)
                throw error
            }
        }
    }

    /// One job at one node, followed to its end.
    private mutating func attempt(_ prepared: TurnPlan, at node: NodeAnnouncement) async throws -> AttemptResult {
        var own = prepared
        own.numericsID = own.numericsID ?? node.numericsID
        let (log, lease, id, proposal) = (services.log, lease, node.id, try own.encoded())
        let begun = try await TurnRunner.patiently(delivery, logger) {
            try await log.beginAttempt(lease, node: id, numericsID: node.numericsID, plan: proposal)
        }
        guard let begun else { throw Abandoned.fenced }
        guard begun.attempts.withoutProgress <= TurnRunner.fruitlessAttempts else {
            return .ended(.failed("generation began \(TurnRunner.fruitlessAttempts) times and brought no token"))
        }
        // The first holder's plan stands.
        let plan = try TurnPlan(decoding: begun.plan)
        self.plan = plan
        attempts = begun.attempts.total
        guard plan.numericsID == node.numericsID else {
            try await forgiveAttempt()
            return .again
        }
        jobEpoch = lease.epoch
        var sampling = turn.sampling
        sampling.maxTokens = plan.maxTokens
        let job = GenerationJob(
            turn: turn.id, epoch: lease.epoch, attempt: attempts, orchestrator: services.name, prompt: plan.prompt,
            outputSoFar: transcript.ids, sampling: sampling, kind: turn.kind, deadline: turn.deadline)
        do throws(RabbitError) {
            try await services.publisher.publish(
                OutgoingMessage(
                    queue: node.queue, body: encode(job), id: "\(turn.id)/\(lease.epoch)/\(attempts)", durable: false))
        } catch {
            logger.notice("a node did not take a job", metadata: ["node": "\(node.id)", "error": "\(error)"])
            await services.nodes.avoid(node.id)
            if error.outcomeIsUnknown { await cancelAtNode(node.id) } else { try await forgiveAttempt() }
            return .again
        }
        return try await follow(node)
    }

    private func encode(_ job: GenerationJob) -> [UInt8] {
        // A job holds numbers and strings only: there is nothing in it that cannot be encoded.
        (try? JSONEncoder().encode(job)).map(Array.init) ?? []
    }

    /// Appends what the node sends until the attempt is over.
    private mutating func follow(_ node: NodeAnnouncement) async throws -> AttemptResult {
        var lastHeard = ContinuousClock.now
        let start = transcript.next
        while let delivered = await mailbox.receive() {
            var isGap = delivered.hasGap
            var isLost = false
            var end: TokenBatch.End?
            var mustLook = false
            var new: (first: Int, tokens: [TurnLog.Token])?
            for news in delivered.elements {
                switch news {
                case .tokens(let item) where item.epoch == jobEpoch && item.attempt == attempts:
                    lastHeard = .now
                    if let time = item.timeToFirstToken { engineFirstToken = Double(time) / 1000 }
                    switch transcript.admit(first: item.first, tokens: item.tokens, isEnd: item.end.isFinal) {
                    case .tokens(let first, let tokens): new = (new?.first ?? first, (new?.tokens ?? []) + tokens)
                    case .nothing: break
                    case .gap: isGap = true
                    }
                    end = item.end ?? end
                case .tokens: break  // of an attempt that is over
                case .nodeLost(let id): isLost = isLost || id == node.id
                case .cancelRequested: cancelRequested = true
                case .tick: mustLook = true
                }
            }
            if let new {
                try await append(first: new.first, new.tokens)
            } else if mustLook {
                try await append(first: transcript.next, [])
            }
            if let end {
                if end.kind == .unavailable, transcript.next == start { try await forgiveAttempt() }
                return await result(of: end, at: node)
            }
            if cancelRequested {
                await cancelAtNode(node.id)
                return .ended(.cancelled)
            }
            if mustLook, try await TurnRunner.isPast(turn.deadline, services) {
                await cancelAtNode(node.id)
                return .ended(.expired)
            }
            guard delivery.isLive else { throw Abandoned.fenced }
            // A prompt may wait long for its first token; after that tokens come steadily.
            let isSilent = transcript.next > start && lastHeard + TurnRunner.silence < .now
            if isLost || isGap || isSilent {
                logger.notice(
                    "an attempt is over",
                    metadata: ["node": "\(node.id)", "lost": "\(isLost)", "gap": "\(isGap)", "silent": "\(isSilent)"])
                await cancelAtNode(node.id)
                return .again
            }
        }
        // The mailbox was closed: this process drains, or the turn was delivered to it again and another runner has it.
        try Task.checkCancellation()
        throw Abandoned.fenced
    }

    private func forgiveAttempt() async throws {
        let (log, lease) = (services.log, lease)
        try await TurnRunner.patiently(delivery, logger) { try await log.forgiveAttempt(lease) }
    }

    private func result(of end: TokenBatch.End, at node: NodeAnnouncement) async -> AttemptResult {
        switch end.kind {
        case .stop: return .ended(Ending(status: .done, reason: .stop))
        case .length: return .ended(Ending(status: .done, reason: .length))
        case .refused: return .ended(.failed("the node refused the turn: \(end.reason)"))
        case .failed: return .ended(.failed("generation failed: \(end.reason)"))
        case .cancelled, .unavailable:
            logger.notice("a node gave a turn back", metadata: ["node": "\(node.id)", "reason": "\(end.reason)"])
            await services.nodes.avoid(node.id)
            return .again
        }
    }

    private mutating func append(first: Int, _ tokens: [TurnLog.Token]) async throws {
        let (log, lease) = (services.log, lease)
        let result = try await TurnRunner.patiently(delivery, logger) {
            try await log.append(lease, first: first, tokens: tokens)
        }
        switch result {
        case .appended(let audience):
            cancelRequested = cancelRequested || TurnRunner.endsTurn(audience, turn, services)
        case .gap(let expected) where expected >= transcript.next: break  // a repeat of what had arrived after all
        case .gap(let expected): try await appendAgain(from: expected, under: lease)  // Redis lost the log's end
        case .fenced: try await recover()
        }
        if firstTokenAt == nil, !tokens.isEmpty { firstTokenAt = try? await services.clock.now() }
    }

    /// The log is not where it was left: another has it, or Redis lost it. In the latter case it is written again from
    /// what is known here, and clients' places in it stay what they were.
    private mutating func recover() async throws {
        let (services, turn, delivery, logger) = (services, turn, delivery, logger)
        let record = try await TurnRunner.patiently(delivery, logger) { try await services.log.record(of: turn.id) }
        guard record == nil, delivery.isLive else { throw Abandoned.fenced }
        logger.warning("a turn's log was lost and is written again", metadata: ["tokens": "\(transcript.next)"])
        let acquired = try await TurnRunner.patiently(delivery, logger) {
            try await services.log.acquire(turn, owner: services.name, redelivered: false)
        }
        // Otherwise another was quicker, or our own acquisition's reply was lost: the turn is taken up anew.
        guard case .acquired(let lease, let progress) = acquired, progress.tokens.isEmpty else {
            throw Abandoned.fenced
        }
        // The node's job goes on under the epoch that it was ordered with.
        self.lease = lease
        try await services.order.add(turn)
        if let plan = try plan?.encoded() { _ = try await services.log.recordPlan(lease, plan: plan) }
        try await appendAgain(from: 0, under: lease)
    }

    private func appendAgain(from first: Int, under lease: TurnLog.Lease) async throws {
        let (log, tokens) = (services.log, transcript.tokens(from: first))
        let result = try await TurnRunner.patiently(delivery, logger) {
            try await log.append(lease, first: first, tokens: tokens)
        }
        switch result {
        case .appended: break
        case .gap(let expected) where expected == transcript.next: break
        case .gap, .fenced: throw Abandoned.fenced
        }
    }

    private func cancelAtNode(_ node: String) async {
        let control = NodeControl(cancel: turn.id, epoch: jobEpoch, attempt: attempts)
        guard let payload = try? JSONEncoder().encode(control) else { return }
        let redis = services.redis
        // A lost order costs the node work until it notices by itself; it is not worth a retry.
        await Task {
            _ = try? await redis.send(
                "PUBLISH", RedisArgument(NodeControl.channel(node: node)), RedisArgument(Array(payload)))
        }.value
    }
}

// MARK: Ending

extension TurnRunner {
    /// The one order in which a turn ends: recorded, settled, shown, acknowledged. Each step may be repeated.
    private mutating func end(_ ending: Ending) async throws {
        let (services, turn, delivery, logger, lease) = (services, turn, delivery, logger, lease)
        let proposal = Array(try JSONEncoder().encode(try await outcome(of: ending)))
        let stored = try await TurnRunner.patiently(delivery, logger) {
            try await services.log.recordOutcome(lease, outcome: proposal)
        }
        guard let stored else { throw Abandoned.fenced }
        let outcome = try JSONDecoder().decode(TurnOutcome.self, from: Data(stored))
        let shard = services.database.shard(for: turn.conversation.owner).name
        try await TurnRunner.patiently(delivery, logger) {
            try await services.publisher.publish(
                OutgoingMessage(queue: Topology.responseQueue(shard: shard), body: stored, id: turn.id.description))
        }
        // Before the client hears of the end: its next message may come at once, and must find this turn.
        let entry = ContextCache.Entry(
            turn: turn.id, system: turn.system, message: turn.message,
            response: outcome.isPartOfHistory ? outcome.response : "")
        try await TurnRunner.patiently(delivery, logger) {
            try await services.contexts.append(
                turn.conversation, entry: entry, beginsConversation: turn.beginsConversation)
        }
        let end = TurnEnd(outcome: outcome, engineFirstToken: engineFirstToken)
        let isEnded = try await TurnRunner.patiently(delivery, logger) {
            try await services.log.end(lease, next: outcome.eventEnds.count, end: end)
        }
        guard isEnded else { throw Abandoned.fenced }
        try await TurnRunner.tidyUp(turn, services, delivery, logger)
        logger.info(
            "a turn ended",
            metadata: [
                "status": "\(outcome.status.rawValue)", "reason": "\(outcome.finishReason.rawValue)",
                "prompt_tokens": "\(outcome.usage.promptTokens)", "tokens": "\(outcome.usage.completionTokens)",
                "milliseconds": "\(end.duration)", "attempts": "\(outcome.attempts)",
                "history_turns": "\(plan?.historyTurns ?? 0)", "dropped_turns": "\(plan?.droppedTurns ?? 0)",
                "error": "\(outcome.error ?? "")",
            ])
    }

    private func outcome(of ending: Ending) async throws -> TurnOutcome {
        let (clock, delivery, logger) = (services.clock, delivery, logger)
        let now = try await TurnRunner.patiently(delivery, logger) { try await clock.now() }
        return TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: turn.beginsConversation,
            kind: turn.kind, status: ending.status, finishReason: ending.reason, error: ending.error,
            system: turn.system, message: turn.message, response: transcript.text, eventEnds: transcript.ends,
            usage: .init(promptTokens: plan?.prompt.count ?? 0, completionTokens: transcript.next),
            model: turn.model ?? services.model, seed: turn.sampling.seed, acceptedAt: turn.acceptedAt,
            firstTokenAt: firstTokenAt, endedAt: max(now, turn.acceptedAt), attempts: attempts)
    }
}

// MARK: Patience

extension TurnRunner {
    /// Repeats an idempotent step while its store is away. Gives up only when the delivery is gone, for then another
    /// orchestrator has the turn.
    static func patiently<Value>(
        _ delivery: Delivery, _ logger: Logger, _ step: () async throws -> Value
    ) async throws -> Value {
        var backoff = Backoff(base: .milliseconds(20), cap: .seconds(1))
        while true {
            do {
                return try await step()
            } catch let error where isPassing(error) {
                try Task.checkCancellation()
                logger.warning("a step is tried again", metadata: ["error": "\(error)"])
                guard delivery.isLive else { throw Abandoned.fenced }
                try await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Whether the same step may succeed later: a store is away. What a store understood and refused it will refuse again.
    private static func isPassing(_ error: any Error) -> Bool {
        switch error {
        case let error as RedisError:
            switch error {
            case .server(let text): text.hasPrefix("LOADING") || text.hasPrefix("OOM") || text.hasPrefix("READONLY")
            case .unexpectedReply: false
            default: true
            }
        case let error as RabbitError: if case .invalid = error { false } else { true }
        default: false
        }
    }

    private static func waitForEnd(
        of turn: Turn, _ services: TurnServices, _ delivery: Delivery, _ logger: Logger
    ) async throws {
        while delivery.isLive {
            let record = try await patiently(delivery, logger) { try await services.log.record(of: turn.id) }
            // A record that is gone was lost with Redis' memory: the turn is taken up anew, by us or by its holder.
            guard let record else { throw Abandoned.fenced }
            if record.hasEnded { return }
            try await Task.sleep(for: .milliseconds(500))
        }
        throw Abandoned.fenced
    }
}

extension TokenBatch.End? {
    /// Whether the turn ends with it, so that held-back text comes out.
    fileprivate var isFinal: Bool { self?.kind == .stop || self?.kind == .length }
}
