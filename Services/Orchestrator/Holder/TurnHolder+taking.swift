import ChatCore
import RedisStore
import TurnProtocol

/// Who holds the turn.
extension TurnHolder {
    mutating func take(_ acquisition: TurnLog.Acquisition, _ plan: TurnPlan?, isHeldHere: Bool) {
        if recovery == .reacquiring { return takeAgain(acquisition) }
        switch acquisition {
        case .acquired(let lease, let progress): open(lease, progress, plan)
        case .ended:
            // Its last holder may have died before it tidied up.
            stage = .leaving
            chores = [.tidyUp, .acknowledge]
        case .unknown:
            stage = .duplicate
            looks += 1
            // Lost with Redis' memory: its living holder writes it again; if there is none, this one does.
            if looks >= rules.looksForRecord { stage = .acquiring }
            chores = [.pause(milliseconds: rules.duplicatePause)]
        case .held(rules.name) where !isHeldHere:
            // An acquisition of ours whose reply was lost.
            chores = [.acquire(.owner(rules.name), creates: true)]
        case .held(let owner):
            // A duplicate publish: whoever holds the turn answers for it. This message goes when the turn has ended.
            stage = .duplicate
            chores = owner == rules.name ? [.pause(milliseconds: rules.duplicatePause)] : [.findOwner(owner)]
        }
    }

    mutating func take(ownerIsAlive isAlive: Bool) {
        looks = isAlive ? 0 : looks + 1
        if looks >= rules.looksAtTheDead {
            // Nobody will redeliver its message to us while we have one ourselves.
            looks = 0
            if case .findOwner(let owner) = step { chores = [.acquire(.owner(owner), creates: true)] }
        } else {
            chores = [.pause(milliseconds: rules.duplicatePause)]
        }
    }

    /// A turn is ours: where it stands decides what is next.
    private mutating func open(_ lease: TurnLog.Lease, _ progress: TurnLog.Progress, _ plan: TurnPlan?) {
        self.lease = lease
        looks = 0
        ids = progress.tokens.map(\.id)
        logged = ids.count
        isCancelled = progress.cancelRequested
        attempts = progress.attempts.total
        fruitless = progress.attempts.withoutProgress
        retries = max(retries, progress.retries)
        history = progress.history
        for index in history.indices where history[index].endReason == nil {
            history[index].endReason = "its orchestrator was gone"
        }
        self.plan = plan
        if progress.outcome != nil {
            // It stands, whatever this holder would do.
            leave(as: .cancelled)
        } else if turn.beginsConversation, !isRedelivered, plan == nil, attempts == 0 {
            // Nothing to wait for: a conversation's first turn is its head and has no history.
            stage = .toPlan
        } else {
            stage = .toOrder
        }
    }

    mutating func take(head: TurnID?) {
        guard stage == .toOrder || stage == .waitingForHead else { return }
        if let head, head != turn.id {
            stage = .waitingForHead
        } else {
            stage = plan == nil ? .toPlan : .toSeek
        }
    }
}

/// A log that is not where it was left: another has it, or Redis lost it. In the latter case it is written again from what
/// is known here, and clients' places in it stay what they were.
extension TurnHolder {
    mutating func takeFence(_ seen: Seen) {
        switch step {
        case .release, .acknowledge, .tidyUp: break  // somebody else answers for the turn
        default:
            guard seen.isDeliveryLive, lease != nil else { return abandon(seen) }
            recovery = .looking
        }
    }

    mutating func take(recordExists: Bool, _ seen: Seen) {
        guard !recordExists, seen.isDeliveryLive else { return abandon(seen) }
        recovery = .reacquiring
    }

    private mutating func takeAgain(_ acquisition: TurnLog.Acquisition) {
        recovery = .none
        // Otherwise another was quicker, or our own acquisition's reply was lost: the turn is taken up anew.
        guard case .acquired(let lease, let progress) = acquisition, progress.tokens.isEmpty, progress.outcome == nil
        else { return forget() }
        // The nodes' jobs go on under the epoch that they were ordered with.
        self.lease = lease
        logged = 0
        isCancelled = isCancelled || progress.cancelRequested
        // A plan without a numerics id was not stored before either: its first attempt stores it.
        chores = [.joinOrder] + (plan?.numericsID == nil ? [] : [.keepPlan])
        // An ending begins again at its first step; its outcome stays what it was.
        if ending != nil { ending = .record }
    }

    mutating func take(_ result: TurnLog.AppendResult, _ seen: Seen) {
        guard case .append(let first, _) = step else { return }
        switch result {
        case .appended(let audience):
            if first < ids.count { fruitless = 0 }
            logged = ids.count
            lastLook = seen.uptime
            if audience.cancelRequested { isCancelled = true }
            // While a store failed readers could not register either: nobody is absent since before that.
            let present = lastFailure.map { seen.uptime - $0 } ?? .max
            if turn.kind != .batch, let absent = audience.absentForMilliseconds,
                min(absent, present) > rules.detachGrace
            {
                isCancelled = true
            }
        case .gap(let expected) where expected <= ids.count:
            // What was sent has arrived after all, or Redis lost the log's end: it goes on from there.
            logged = expected
        case .gap: abandon(seen)
        case .fenced: takeFence(seen)
        }
    }
}
