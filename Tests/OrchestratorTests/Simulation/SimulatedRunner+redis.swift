import ChatCore
import Foundation
import RedisStore
import TurnProtocol

@testable import orchestrator

extension SimulatedWorld {
    /// The steps that are scripts in Redis; endings settle on their way.
    mutating func performInRedis(
        _ step: HolderStep, _ runner: inout SimulatedRunner, _ number: Int
    ) -> HolderResult {
        let turn = runner.turn
        switch step {
        case .acquire(let taking, let creates): return acquire(&runner, number, taking, creates: creates)
        case .letGo(let lease):
            _ = log.release(lease, parkedBy: nil, verdicts: [])
            return .done
        case .findOwner(let owner): return .owner(isAlive: orchestrators.contains { $0.name == owner && !$0.isPaused })
        case .joinOrder:
            order[turn.conversation, default: [:]][turn.id] = turn.position
            return .head(head(of: turn.conversation))
        case .tidyUp:
            leaveOrder(turn)
            return .done
        case .tidyUpIfEnded:
            if log.records[turn.id]?.hasEnded == true { leaveOrder(turn) }
            return .done
        case .lookForRecord: return .record(exists: log.records[turn.id] != nil)
        default: break
        }
        guard let lease = runner.holder.lease else { return .fenced }
        switch step {
        case .begin(let place, let verdicts):
            guard var plan = runner.holder.plan else { return .fenced }
            plan.numericsID = plan.numericsID ?? place.numericsID
            guard let bytes = try? plan.encoded(),
                let begun = log.beginAttempt(lease, mark: place.id, node: place.node, plan: bytes, verdicts: verdicts),
                let stored = try? TurnPlan(decoding: begun.plan)
            else { return .fenced }
            check(
                head(of: turn.conversation).flatMap { turns[$0] }.map { $0.position >= turn.position } ?? true
                    || wasEmptied,
                "\(turn.id) runs before the head of its conversation")
            return .begun(begun.attempts, plan: stored, startedAt: redisClock)
        case .append(let first, _):
            let ids = runner.holder.ids
            let tokens = (first..<ids.count).map { TurnLog.Token(id: ids[$0], text: "") }
            let result = log.append(lease, first: first, tokens: tokens)
            if case .appended = result { showTokens(of: turn.id) }
            return .appended(result)
        case .keepPlan:
            guard let bytes = try? runner.holder.plan?.encoded(), log.recordPlan(lease, plan: bytes) != nil else {
                return .fenced
            }
            return .done
        case .release(let parks, let verdicts):
            return log.release(lease, parkedBy: parks ? orchestrators[number].name : nil, verdicts: verdicts)
                ? .done : .fenced
        case .end(let step, let how): return end(step, how, &runner, lease)
        default: return .done
        }
    }

    private mutating func acquire(
        _ runner: inout SimulatedRunner, _ number: Int, _ taking: Taking, creates: Bool
    ) -> HolderResult {
        let name = orchestrators[number].name
        let isAgain = runner.holder.recovery == .reacquiring
        if !isAgain {
            for case .placed(let place) in runner.mail { runner.places.remove(place.id) }
            (runner.mail, runner.hasGap, runner.isOpen) = ([], false, false)
        }
        var other: String?
        if case .owner(let owner) = taking { other = owner }
        let acquisition = log.acquire(
            runner.turn.id, owner: name, redelivered: taking == .anybody, from: other, creates: creates,
            micros: redisClock * 1000, known: runner.holder.lease?.epoch ?? 0)
        let isHeldHere = orchestrators[number].runners.contains {
            $0.turn.id == runner.turn.id && $0.message != runner.message && $0.isOpen && !$0.isOver
        }
        var plan: TurnPlan?
        if case .acquired(_, let progress) = acquisition {
            plan = progress.plan.flatMap { try? TurnPlan(decoding: $0) }
            if isAgain {
                count("logs written again")
            } else {
                runner.isOpen = true
                runner.outcome = progress.outcome
                if !progress.tokens.isEmpty { count("takeovers") }
            }
        }
        return .acquisition(acquisition, plan: plan, isHeldHere: isHeldHere)
    }

    private mutating func end(
        _ step: EndingStep, _ how: TurnEnd.How, _ runner: inout SimulatedRunner, _ lease: TurnLog.Lease
    ) -> HolderResult {
        let outcome = runner.outcome ?? Array("\(how.status.rawValue):\(runner.holder.ids.count)".utf8)
        runner.outcome = outcome
        let id = runner.turn.id
        switch step {
        case .record:
            guard let stored = log.recordOutcome(lease, outcome: outcome) else { return .fenced }
            runner.outcome = stored
        case .settle: settle(id, outcome)
        case .remember: break
        case .show:
            let count = String(decoding: outcome, as: UTF8.self).split(separator: ":").last.flatMap { Int($0) }
            let hadEnded = log.records[id]?.hasEnded == true
            switch log.end(lease, next: count ?? -1) {
            case true: if !hadEnded { show(id, outcome) }
            case false:
                check(false, "\(id): the log does not hold the outcome's tokens")
                return .failed(isPassing: false)
            default: return .fenced
            }
        case .tidyUp: leaveOrder(runner.turn)
        }
        return .done
    }
}
