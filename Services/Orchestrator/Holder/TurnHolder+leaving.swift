import ChatCore
import RabbitQueue
import RedisStore
import TurnProtocol

/// Ends, retries, and letting go.
extension TurnHolder {
    /// Looks whether the turn is over, or is to be tried again later.
    mutating func decideToLeave(_ seen: Seen) {
        if let how { return leave(as: how) }
        if isCancelled { return leave(as: .cancelled) }
        if seen.now >= turn.deadline {
            return leave(as: .failed("the turn's deadline has passed\(circumstances(seen))"))
        }
        if let poison { return bury(poison) }
        if fruitless >= rules.fruitlessAttempts, jobs.isEmpty {
            return bury("generation began \(fruitless) times and brought no token")
        }
        if let retry { tryLater(retry, seen) }
    }

    /// What the turn waited for when its time ran out.
    private func circumstances(_ seen: Seen) -> String {
        switch stage {
        case .waitingForHead, .toOrder: return ": it waited for an earlier turn of its conversation"
        case .planning, .toPlan: return ": its conversation's history could not be read"
        case .seeking, .toSeek:
            if let plan, let roomiest = seen.roomiestNode, plan.tokens > roomiest {
                return
                    ": it waited for an inference node that holds its \(plan.tokens) tokens; the roomiest holds \(roomiest)"
            }
            return plan?.numericsID == nil || ids.isEmpty
                ? ": it waited for an inference node" : ": no other node could go on with it"
        default: return ""
        }
    }

    mutating func leave(as how: TurnEnd.How) {
        stopWork(because: how.status == .cancelled ? "cancelled" : "the turn ended")
        self.how = how
        retry = nil
        stage = .leaving
        ending = .record
    }

    /// The queue worker ends what lies among the dead letters; until it has, the letter is the turn's message.
    private mutating func bury(_ reason: String) {
        stopWork(because: reason)
        stage = .leaving
        chores += [.bury(reason: reason), .release(parks: false, verdicts), .acknowledge]
    }

    /// The message goes to the ladder first, confirmed; then the lease is given back, and the delivery is acknowledged. A
    /// holder that dies in between leaves two messages, of which one finds the turn ended.
    private mutating func tryLater(_ retry: Retry, _ seen: Seen) {
        let delays = rules.delays(retry: retries, ladder: RetryLadder.delays, left: turn.deadline - seen.now)
        guard let delay = delays.randomElement(using: &random) else {
            // No rung is short enough. Generation that failed has failed; history or a node may yet come before the deadline.
            self.retry = nil
            if retry.isLast { return leave(as: .failed(retry.reason)) }
            return chores.append(.pause(milliseconds: HolderRules.lastPauses))
        }
        stopWork(because: retry.reason)
        stage = .leaving
        chores += [.publishToRung(seconds: delay)]
    }

    mutating func takeDone(_ seen: Seen) {
        switch step {
        case .order(let job):
            guard case .toJob = stage else { return }
            jobs.append(job)
            let mayHedge = rules.hedges && !job.isHedge && jobs.count == 1
            stage = mayHedge ? .toHedge : .following
        case .end(let step, _):
            ending = step.next
            if ending == nil { chores.append(.acknowledge) }
        case .publishToRung:
            // It comes back by itself from now on, whatever happens here.
            chores += [.release(parks: true, verdicts), .acknowledge]
            retry = nil
            verdicts = []
        default: break
        }
    }

    private mutating func stopWork(because reason: String) {
        chores.append(.stopWaiting)
        for job in jobs { end(job, reason, isFruitless: false, cancels: true, avoids: false) }
        switch stage {
        case .toBegin(let place, _): chores.append(.giveBackPlace(place, avoids: false))
        case .toJob(let job): chores.append(.drop(job, cancels: true, avoids: false))
        default: break
        }
    }

    /// This process drains, and the next holder acquires at once; or something is wrong that this holder cannot mend, and
    /// the delivery goes back after a pause: each return is counted, and a return at once would use them all up in an instant.
    mutating func handBack(after milliseconds: Int? = nil) {
        keepOnlyFarewells()
        stopWork(
            because: milliseconds == nil ? "its orchestrator shut down" : "its orchestrator could not go on with it")
        if stage != .leaving || ending != nil, lease != nil { chores.append(.release(parks: false, verdicts)) }
        if let milliseconds { chores.append(.pause(milliseconds: milliseconds)) }
        chores.append(.reject)
        (how, ending, retry, recovery, stage) = (nil, nil, nil, .none, .leaving)
    }

    /// The turn is another's. While the delivery lives nobody else will get it: look again who has the turn, without taking
    /// it by force. Else there is nothing more to do.
    mutating func abandon(_ seen: Seen) {
        keepOnlyFarewells()
        let held = lease
        forget()
        if seen.isDeliveryLive { return chores.append(.pause(milliseconds: 100)) }
        if let held { chores += [.letGo(held), .tidyUpIfEnded] }
        stage = .leaving
    }

    /// Begins anew, with nothing but the delivery.
    mutating func forget() {
        stopWork(because: "the turn is another's")
        (stage, recovery, lease, plan, how, ending, retry) = (.acquiring, .none, nil, nil, nil, nil, nil)
        (ids, logged, mustLook, mustJoin, isCancelled) = ([], 0, false, false, false)
        (history, verdicts, looks, poison, answerOf) = ([], [], 0, nil, nil)
    }

    private mutating func keepOnlyFarewells() {
        repeated = nil
        chores = chores.filter {
            switch $0 {
            case .drop, .giveBackPlace, .stopWaiting, .letGo, .tidyUpIfEnded: true
            default: false
            }
        }
    }
}
