import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

/// Lease, news, and letting go.
extension TurnRunner {
    mutating func acquire(_ taking: Taking, creates: Bool) async throws -> HolderResult {
        var owner: String?
        if case .owner(let other) = taking { owner = other }
        let isAgain = holder.recovery == .reacquiring
        if !isAgain { await closeMailbox() }
        let acquisition = try await services.log.acquire(
            turn, owner: services.rules.name, redelivered: taking == .anybody, from: owner, creates: creates,
            known: holder.lease?.epoch ?? 0)
        var plan: TurnPlan?
        if case .acquired(let lease, let progress) = acquisition {
            confirmKey()
            if isAgain {
                logger.warning("a turn's log was lost and is written again", metadata: ["tokens": "\(transcript.next)"])
            } else {
                // When this fails the step is repeated: the lease is then found to be our own.
                let left = try await read(progress)
                plan = left.plan
                takeUp(lease, progress, left.transcript)
            }
        }
        return .acquisition(acquisition, plan: plan, isHeldHere: services.mail.holds(turn.id, besides: mailbox))
    }

    /// The tokens and the plan that an earlier holder left; either may be as long as a model's context.
    private func read(_ progress: TurnLog.Progress) async throws -> (transcript: Transcript, plan: TurnPlan?) {
        let (tokenizer, stop) = (services.planners[turn].tokenizer, turn.sampling.stop)
        let bytes = progress.tokens.reduce(progress.plan?.count ?? 0) { $0 + $1.text.utf8.count + Transcript.idBytes }
        return try await WorkPool.shared.run(bytes: bytes) { _ in
            (
                Transcript(tokenizer: tokenizer, stop: stop, logged: progress.tokens),
                progress.plan.flatMap { try? TurnPlan(decoding: $0) }
            )
        }
    }

    /// Whoever holds a turn knows that it was published. The gateway may have died before it could say so, and Redis may
    /// have lost the key.
    private func confirmKey() {
        guard turn.idempotency != nil else { return }
        Task { [turn, keys = IdempotencyKeys(pool: services.redis)] in try? await keys.confirm(turn) }
    }

    private mutating func takeUp(
        _ lease: TurnLog.Lease, _ progress: TurnLog.Progress, _ transcript: Transcript
    ) {
        mailbox = services.mail.open(turn.id)
        services.parking.remove(turn.id)
        self.transcript = transcript
        (recorded, ending, firstTokenAt) = (progress.outcome, nil, nil)
        if !progress.tokens.isEmpty {
            services.metrics.tookOver()
            trace.note("goes on", ["switchboard.first_token_index": .int64(Int64(progress.tokens.count))])
            logger.notice("a turn goes on", metadata: ["from": "\(progress.tokens.count)", "epoch": "\(lease.epoch)"])
        }
    }

    mutating func listen() async -> HolderResult {
        guard let mailbox else { return .closed }
        guard let delivered = await mailbox.receive() else { return Task.isCancelled ? .draining : .closed }
        let news = delivered.elements.map { news -> HolderNews in
            switch news {
            case .tokens(let item): .tokens(item)
            case .nodeLost(let id): .nodeLost(id)
            case .cancelRequested: .cancelRequested
            case .tick: .tick
            case .becameHead: .becameHead
            case .prepared(let preparation): .prepared(preparation)
            case .placed(let place): .placed(register(place))
            case .plannedTooLarge: .plannedTooLarge
            }
        }
        return .news(news, hasGap: delivered.hasGap)
    }

    mutating func register(_ place: NodePool.Place) -> HolderPlace {
        lastPlace += 1
        places[lastPlace] = place
        return HolderPlace(id: lastPlace, node: place.node.id, numericsID: place.node.numericsID)
    }

    /// The lease as the holder has it.
    func lease() throws -> TurnLog.Lease {
        guard let lease = holder.lease else { throw Abandoned.fenced }
        return lease
    }

    func release(parks: Bool, _ verdicts: [TurnLog.Verdict]) async throws {
        let (services, lease) = (services, try lease())
        // In a task of its own: when this process drains, this one is cancelled, and would not wait for the reply.
        let isOurs = try await Task {
            try await services.log.release(lease, parkedBy: parks ? services.rules.name : nil, verdicts: verdicts)
        }.value
        guard isOurs else { throw Abandoned.fenced }
        if parks { services.parking.add(turn, for: .seconds(rung)) }
    }

    mutating func publishToRung(_ seconds: Int) async throws {
        rung = seconds
        let ladder = RetryLadder()
        let step = RetryLadder.delays.firstIndex(of: seconds) ?? 0
        logger.notice("a turn is tried again later", metadata: ["seconds": "\(seconds)"])
        trace.note("tried again later", ["switchboard.delay_seconds": .int64(Int64(seconds))])
        try await services.publisher.publish(
            OutgoingMessage(
                queue: ladder.queue(rung: step), body: try await WorkPool.shared.encode(turn, bytes: turn.wireBytes),
                id: turn.id.description))
        services.metrics.parked(holder.verdicts)
    }

    mutating func stopWaiting() async {
        background?.cancel()
        await background?.value
        background = nil
    }

    /// Places that were granted in the last moment go back.
    mutating func closeMailbox() async {
        guard let mailbox else { return }
        self.mailbox = nil
        services.mail.close(turn.id, mailbox)
        while let rest = await mailbox.receive() {
            for case .placed(let place) in rest.elements { await services.nodes.release(place) }
        }
    }
}
