import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

/// Drives a turn's holder from its delivery to its end: does each step that `TurnHolder` decides, and says what came of it.
struct TurnRunner {
    let services: TurnServices
    let turn: Turn
    let delivery: Delivery
    let logger: Logger
    var trace: TurnTrace

    var holder: TurnHolder<SystemRandomNumberGenerator>
    var transcript: Transcript
    /// Open while the turn is ours.
    var mailbox: Mailbox<TurnNews>?
    /// Planning, or waiting for a place.
    var background: Task<Void, Never>?
    /// The places that are in use, under the ids by which the holder knows them.
    var places: [UInt64: NodePool.Place] = [:]
    var lastPlace: UInt64 = 0
    /// Seconds that the turn waits on the retry ladder, once it was put there.
    var rung = 0
    /// The outcome that an earlier holder recorded.
    var recorded: [UInt8]?
    var ending: EndingTurn?
    var firstTokenAt: Int64?
    /// Of the Redis clock, in milliseconds.
    var now: Int64 = 0
    private let began = ContinuousClock.now

    /// Runs the turn of a delivery until it has ended here, or waits elsewhere, or is another's.
    static func run(_ delivery: Delivery, turn: Turn, services: TurnServices, logger: Logger) async {
        var rules = services.rules
        rules.hedges = turn.tier == .premium && services.hedging.isOn
        var runner = TurnRunner(
            services: services, turn: turn, delivery: delivery, logger: logger,
            trace: TurnTrace(turn, delivery, tracer: services.tracer),
            holder: TurnHolder(
                turn, redelivered: delivery.redelivered, rules: rules, random: SystemRandomNumberGenerator()),
            transcript: Transcript(tokenizer: services.planners[turn].tokenizer, stop: turn.sampling.stop))
        await runner.run()
    }

    private mutating func run() async {
        var step = holder.step
        while step != .leave {
            let result = await perform(step)
            if let time = try? await services.clock.now() { now = time }
            var seen = TurnHolder<SystemRandomNumberGenerator>.Seen(
                now: now, uptime: Int64(began.duration(to: .now) / .milliseconds(1)), isDeliveryLive: delivery.isLive)
            if now >= turn.deadline, holder.stage == .seeking || holder.stage == .toSeek {
                seen.roomiestNode = await services.nodes.capacity(for: turn, numericsID: holder.plan?.numericsID)?
                    .largest
            }
            step = holder.resume(result, seen)
        }
        await stopWaiting()
        await closeMailbox()
        trace.leave()
    }

    private mutating func perform(_ step: HolderStep) async -> HolderResult {
        do {
            return try await attempt(step)
        } catch {
            let result = HolderResult(of: error, isCancelled: Task.isCancelled)
            if case .failed(let isPassing) = result {
                logger.log(
                    level: isPassing ? .warning : .error,
                    isPassing ? "a step is tried again" : "a turn could not be run", metadata: ["error": "\(error)"])
            }
            return result
        }
    }

    private mutating func attempt(_ step: HolderStep) async throws -> HolderResult {
        switch step {
        case .acquire(let taking, let creates): return try await acquire(taking, creates: creates)
        case .findOwner(let owner):
            return .owner(isAlive: try await services.presence.isAlive(kind: TurnServices.kind, id: owner))
        case .pause(let milliseconds): try await Task.sleep(for: .milliseconds(milliseconds))
        case .joinOrder: return .head(try await services.order.add(turn))
        case .plan(let insists): beginToPlan(insists: insists)
        case .seekPlace: beginToSeek()
        case .seekHedge(_, let node): return .place(await seekHedge(besides: node))
        case .listen: return await listen()
        case .begin(let place, let verdicts): return try await begin(place, verdicts)
        case .order(let job): return try await order(job)
        case .append(let first, let isFinal): return try await append(first: first, isFinal: isFinal)
        case .drop(let job, let cancels, let avoids): await drop(job, cancels: cancels, avoids: avoids)
        case .giveBackPlace(let place, let avoids): await giveBack(place, avoids: avoids)
        case .stopWaiting: await stopWaiting()
        case .lookForRecord: return .record(exists: try await services.log.record(of: turn.id) != nil)
        case .keepPlan: try await keepPlan()
        case .end(let step, let how): try await end(step, how)
        case .tidyUp: try await services.ending.tidyUp(turn)
        case .tidyUpIfEnded:
            if try await services.log.record(of: turn.id)?.hasEnded == true { try await services.ending.tidyUp(turn) }
        case .bury(let reason):
            logger.error("a turn is given up", metadata: ["reason": "\(reason)"])
            trace.note("given up")
            let body = try await WorkPool.shared.encode(turn, bytes: turn.wireBytes)
            try await services.publisher.publish(OutgoingMessage(givenUp: delivery, body: body, reason: reason))
        case .publishToRung(let seconds): try await publishToRung(seconds)
        case .release(let parks, let verdicts): try await release(parks: parks, verdicts)
        case .letGo(let lease): try await services.log.release(lease)
        case .acknowledge: try await delivery.acknowledge()
        case .reject:
            let delivery = delivery
            // In a task of its own: this one may be cancelled.
            await Task { try? await delivery.reject(requeue: true) }.value
        case .leave: break
        }
        return .done
    }
}

extension HolderResult {
    /// What a step came to that threw.
    /// - Parameter isCancelled: whether the task was cancelled that did it.
    init(of error: any Error, isCancelled: Bool) {
        if error is Abandoned {
            self = .fenced
        } else {
            self = isCancelled ? .draining : .failed(isPassing: Patience.isPassing(error))
        }
    }
}
