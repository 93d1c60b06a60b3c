import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

extension TurnRunner {
    enum AttemptResult {
        case ended(Ending)
        /// This attempt is over, the turn is not: another node, or this one again, goes on from the log.
        case again
    }

    mutating func generate(_ prepared: TurnPlan) async throws -> Ending {
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
    mutating func attempt(_ prepared: TurnPlan, at node: NodeAnnouncement) async throws -> AttemptResult {
        var own = prepared
        own.numericsID = own.numericsID ?? node.numericsID
        let (log, lease, id, proposal) = (services.log, lease, node.id, try own.encoded())
        let begun = try await patience {
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
            turn: turn.id, epoch: lease.epoch, attempt: attempts, orchestrator: services.name,
            tenant: turn.conversation.owner.tenant, prompt: plan.prompt, outputSoFar: transcript.ids,
            sampling: sampling, kind: turn.kind, deadline: turn.deadline)
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

    func encode(_ job: GenerationJob) -> [UInt8] {
        // A job holds numbers and strings only: there is nothing in it that cannot be encoded.
        (try? JSONEncoder().encode(job)).map(Array.init) ?? []
    }

    /// Appends what the node sends until the attempt is over.
    mutating func follow(_ node: NodeAnnouncement) async throws -> AttemptResult {
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

    func forgiveAttempt() async throws {
        let (log, lease) = (services.log, lease)
        try await patience { try await log.forgiveAttempt(lease) }
    }

    func result(of end: TokenBatch.End, at node: NodeAnnouncement) async -> AttemptResult {
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

    mutating func append(first: Int, _ tokens: [TurnLog.Token]) async throws {
        let (log, lease) = (services.log, lease)
        let result = try await patience {
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
    mutating func recover() async throws {
        let (services, turn, delivery, logger) = (services, turn, delivery, logger)
        let record = try await patience { try await services.log.record(of: turn.id) }
        guard record == nil, delivery.isLive else { throw Abandoned.fenced }
        logger.warning("a turn's log was lost and is written again", metadata: ["tokens": "\(transcript.next)"])
        let acquired = try await patience {
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

    func appendAgain(from first: Int, under lease: TurnLog.Lease) async throws {
        let (log, tokens) = (services.log, transcript.tokens(from: first))
        let result = try await patience {
            try await log.append(lease, first: first, tokens: tokens)
        }
        switch result {
        case .appended: break
        case .gap(let expected) where expected == transcript.next: break
        case .gap, .fenced: throw Abandoned.fenced
        }
    }

    func cancelAtNode(_ node: String) async {
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

extension TokenBatch.End? {
    /// Whether the turn ends with it, so that held-back text comes out.
    fileprivate var isFinal: Bool { self?.kind == .stop || self?.kind == .length }
}
