import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import TraceKit
import Tracing
import TurnProtocol

/// Plans, places, jobs and tokens.
extension TurnRunner {
    mutating func beginToPlan(insists: Bool) {
        guard let mailbox else { return }
        let (services, turn, logger, delivery) = (services, turn, logger, delivery)
        let patience = Patience(logger: logger) { delivery.isLive }
        // What killed an orchestrator comes again, redelivered; what comes for the first time pays nothing for this.
        let suspect = delivery.redelivered ? holder.lease : nil
        let span = trace.begin("plan")
        background = Task {
            defer { span?.end() }
            func acquit() async {
                guard let suspect else { return }
                // In a task of its own: this one may be cancelled.
                await Task { _ = try? await services.log.suspect(suspect, begins: false) }.value
            }
            var preparation: HolderNews.Preparation
            do {
                // The history may be what kills. Whoever lives takes the count back, also when he lets the turn go: of all
                // the turns that a killed process held, few are between these.
                if let suspect, let count = try await services.log.suspect(suspect, begins: true),
                    count > services.rules.fruitlessAttempts
                {
                    preparation = .deadly(count - 1)
                } else {
                    let planner = services.planners[turn]
                    let history = try await services.history.history(
                        before: turn, upTo: planner.maximumHistoryBytes, insists: insists)
                    preparation = try await patience {
                        try await planner.prepare(
                            turn, history: history, capacity: await services.nodes.capacity(for: turn))
                    }
                    await acquit()
                }
                if case .plan(let plan) = preparation, let answer = await services.answers.find(for: turn, plan) {
                    preparation = .answered(plan, answer)
                }
            } catch {
                await acquit()
                guard !Task.isCancelled else { return }
                logger.warning("history cannot be read yet", metadata: ["error": "\(error)"])
                span?.recordError(error)
                preparation = .unavailable("\(error)")
            }
            span?.note(preparation)
            mailbox.send(.prepared(preparation))
        }
    }

    mutating func beginToSeek() {
        guard let mailbox, let plan = holder.plan else { return }
        let (nodes, turn) = (services.nodes, turn)
        let span = trace.begin("place")
        background = Task {
            defer { span?.end() }
            let place: NodePool.Place
            do {
                place = try await nodes.place(for: turn, plan)
            } catch {
                if error is NodePool.PlannedTooLarge { mailbox.send(.plannedTooLarge) }
                return
            }
            span?.updateAttributes { $0["switchboard.node"] = place.node.id }
            // Nobody takes it any more, or the mailbox is full: then the holder hears of the gap and asks again.
            if !mailbox.send(.placed(place)) { await nodes.release(place) }
        }
    }

    mutating func seekHedge(besides node: String) async -> HolderPlace? {
        guard let plan = holder.plan else { return nil }
        let work = plan.prompt.count + holder.ids.count
        guard services.hedging.allows(work),
            let place = await services.nodes.freePlace(for: turn, plan, besides: node)
        else { return nil }
        services.hedging.duplicate(work)
        return register(place)
    }

    mutating func begin(_ place: HolderPlace, _ verdicts: [TurnLog.Verdict]) async throws -> HolderResult {
        guard var plan = holder.plan else { return .failed(isPassing: false) }
        plan.numericsID = plan.numericsID ?? place.numericsID
        let begun = try await services.log.beginAttempt(
            try lease(), mark: place.id, node: place.node, numericsID: place.numericsID, plan: try await encoded(plan),
            verdicts: verdicts)
        guard let begun else { throw Abandoned.fenced }
        services.hedging.work(plan.prompt.count + holder.ids.count)
        services.metrics.begun(turn, attempts: holder.attempts, at: begun.startedAt, after: verdicts)
        trace.beginAttempt(
            place, number: begun.attempts.total, maxTokens: plan.maxTokens, start: holder.ids.count)
        return .begun(
            begun.attempts,
            plan: try await WorkPool.shared.run(bytes: begun.plan.count) { _ in try TurnPlan(decoding: begun.plan) },
            startedAt: begun.startedAt)
    }

    func order(_ job: HolderJob) async throws -> HolderResult {
        guard let plan = holder.plan, let node = places[job.place.id]?.node else { return .notTaken(isUnclear: false) }
        var sampling = turn.sampling
        sampling.maxTokens = plan.maxTokens
        var order = GenerationJob(
            turn: turn.id, epoch: job.epoch, attempt: job.attempt, orchestrator: services.rules.name,
            tenant: turn.conversation.owner.tenant, prompt: plan.prompt, outputSoFar: holder.ids,
            sampling: sampling, kind: turn.kind, deadline: turn.deadline)
        trace.mark(&order, at: job.place)
        let message = OutgoingMessage(
            queue: node.queue, body: try await WorkPool.shared.encode(order, bytes: order.wireBytes),
            id: "\(turn.id)/\(job.epoch)/\(job.attempt)", durable: false)
        do throws(RabbitError) {
            try await services.publisher.publish(message)
            return .done
        } catch {
            if Task.isCancelled { return .draining }
            logger.notice("a node did not take a job", metadata: ["node": "\(node.id)", "error": "\(error)"])
            return .notTaken(isUnclear: error.outcomeIsUnknown)
        }
    }

    mutating func append(first: Int, isFinal: Bool) async throws -> HolderResult {
        let tokens = try await extendTranscript(from: first, isFinal: isFinal)
        let result = try await services.log.append(try lease(), first: first, tokens: tokens)
        if firstTokenAt == nil, !tokens.isEmpty {
            firstTokenAt = try? await services.clock.now()
            // Of a turn that was taken over, an earlier holder has told it.
            if first == 0, let firstTokenAt { services.metrics.firstToken(of: turn, at: firstTokenAt) }
            trace.note("first token")
        }
        return .appended(result)
    }

    /// Usually by a token or a few; by a whole answer when it is another turn's, or when Redis lost the log.
    private mutating func extendTranscript(from first: Int, isFinal: Bool) async throws -> [TurnLog.Token] {
        let ids = holder.ids
        let bytes = (ids.count - min(first, transcript.next)) * Transcript.idBytes
        // Few ids do not go to the pool anyway, and a transcript that does is copied first.
        guard bytes > WorkPool.inPlaceBytes else { return transcript.extend(to: ids, isFinal: isFinal, from: first) }
        let old = transcript
        let (longer, tokens) = try await WorkPool.shared.run(bytes: bytes) { _ in
            var longer = old
            let tokens = longer.extend(to: ids, isFinal: isFinal, from: first)
            return (longer, tokens)
        }
        transcript = longer
        return tokens
    }

    mutating func drop(_ job: HolderJob, cancels: Bool, avoids: Bool) async {
        if cancels {
            let (left, isPast) = turn.deadline.subtractingReportingOverflow(now)
            await services.cancels.cancel(
                NodeControl(cancel: turn.id, epoch: job.epoch, attempt: job.attempt), at: job.place.node,
                left: .milliseconds(isPast ? 0 : max(0, left)))
        }
        await giveBack(job.place, avoids: avoids)
    }

    mutating func giveBack(_ place: HolderPlace, avoids: Bool) async {
        trace.endAttempt(at: place, holder.verdicts, prompt: holder.plan?.prompt.count, tokens: holder.ids.count)
        if avoids { await services.nodes.avoid(place.node) }
        if let place = places.removeValue(forKey: place.id) { await services.nodes.release(place) }
    }

    private func encoded(_ plan: TurnPlan) async throws -> [UInt8] {
        try await WorkPool.shared.run(bytes: plan.prompt.count * GenerationJob.idBytes) { _ in try plan.encoded() }
    }

    func keepPlan() async throws {
        guard let plan = holder.plan else { return }
        let encoded = try await encoded(plan)
        guard try await services.log.recordPlan(try lease(), plan: encoded) != nil else { throw Abandoned.fenced }
    }
}

extension RecordedSpan {
    /// What planning came to, in numbers.
    fileprivate func note(_ preparation: HolderNews.Preparation) {
        let plan: TurnPlan
        switch preparation {
        case .plan(let made): plan = made
        case .answered(let made, _):
            plan = made
            updateAttributes { $0["switchboard.answered_again"] = true }
        case .refused: return fail("the turn can never be planned")
        case .deadly: return fail("planning it ends its orchestrators")
        case .unavailable: return fail("the history cannot be read now")
        }
        updateAttributes { attributes in
            attributes["gen_ai.usage.input_tokens"] = plan.prompt.count
            attributes["switchboard.history_turns"] = plan.historyTurns
            attributes["switchboard.dropped_turns"] = plan.droppedTurns
        }
    }
}
