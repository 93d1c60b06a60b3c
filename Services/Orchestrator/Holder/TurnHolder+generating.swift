import ChatCore
import RedisStore
import TurnProtocol

/// Attempts at nodes, and what their news mean.
extension TurnHolder {
    mutating func take(_ news: [HolderNews], hasGap: Bool, _ seen: Seen) {
        for index in jobs.indices where hasGap { jobs[index].isBroken = true }
        for item in news {
            switch item {
            case .tokens(let item): take(item, seen)
            case .nodeLost(let id):
                for job in jobs where job.place.node == id { lose(job) }
            case .cancelRequested: isCancelled = true
            case .tick:
                if lastLook + HolderLimits.lookInterval <= seen.uptime { mustLook = true }
                // The wake-up is a hint: a head that fell out by its deadline tells nobody.
                mustJoin = stage == .waitingForHead
            case .becameHead: mustJoin = stage == .waitingForHead
            case .prepared(let preparation): take(preparation)
            case .placed(let place):
                if stage == .seeking {
                    stage = .toBegin(place, isHedge: false)
                } else {
                    chores.append(.giveBackPlace(place, avoids: false))
                }
            case .plannedTooLarge:
                if stage == .seeking { stage = plan?.numericsID == nil ? .toPlan : .toSeek }
            }
        }
        // Tokens that are appended nowhere are news too, and whoever hears news is spared the ticks.
        if lastLook + 2 * HolderLimits.lookInterval <= seen.uptime { mustLook = true }
        if hasGap, stage == .seeking || stage == .planning {
            // What was waited for may have been among what was lost.
            chores.append(.stopWaiting)
            stage = stage == .seeking ? .toSeek : .toPlan
        }
        for (index, job) in jobs.enumerated() where !job.isBroken && ids.count == job.start {
            // A prompt may wait long for its first token. But an item that was lost may have been the only one: the same order
            // once more is nothing to a node that has the job, and begins it anew at one that is through with it.
            guard stage == .following, job.lastHeard + rules.silence < seen.uptime else { continue }
            jobs[index].lastHeard = seen.uptime
            chores.append(.order(job))
        }
        for job in jobs {
            // After the first token they come steadily.
            let isSilent = ids.count > job.start && job.lastHeard + rules.silence < seen.uptime
            guard job.isBroken || isSilent else { continue }
            end(
                job, isSilent ? "the node fell silent" : "tokens were lost", isFruitless: false, cancels: true,
                avoids: false)
        }
    }

    /// The first time the turn goes on at once. Afterwards it waits a little: among turns that lose node after node
    /// together, one may be what kills them, and chance is to part it from its neighbours.
    private mutating func lose(_ job: HolderJob) {
        let isFruitless = ids.count == job.start
        end(job, "the node was lost", isFruitless: isFruitless, cancels: true, avoids: false)
        if isFruitless, fruitless > 1, jobs.isEmpty { retry = Retry(reason: "its nodes were lost") }
    }

    private mutating func take(_ preparation: HolderNews.Preparation) {
        guard stage == .planning else { return }
        switch preparation {
        case .plan(let plan):
            self.plan = plan
            stage = .toSeek
        case .answered(let plan, let answer):
            // The plan is stored before the tokens, with what computed them: whoever has to go on after a death in between
            // asks a node that would say the same.
            self.plan = plan
            self.plan?.numericsID = answer.numericsID
            chores.append(.keepPlan)
            ids = answer.tokens
            answerOf = answer.turn
            how = .done(answer.finishReason)
        case .refused(let reason): how = .failed(reason)
        case .deadly(let count): poison = "planning it ended its orchestrator \(count) times"
        case .unavailable(let reason):
            stage = .toPlan
            retry = Retry(reason: reason)
        }
    }

    private mutating func take(_ item: TokenBatch.Item, _ seen: Seen) {
        guard how == nil, retry == nil,
            let index = jobs.firstIndex(where: { $0.epoch == item.epoch && $0.attempt == item.attempt })
        else { return }
        jobs[index].lastHeard = seen.uptime
        let job = jobs[index]
        guard item.first <= ids.count else {
            jobs[index].isBroken = true
            return
        }
        if let time = item.timeToFirstToken { engineFirstToken = Double(time) / 1000 }
        let new = item.tokens.dropFirst(ids.count - item.first)
        ids += new
        if !new.isEmpty {
            // The first token wins: whoever else works on the turn works for nobody.
            for other in jobs where other.attempt != job.attempt {
                end(other, "another node was first", isFruitless: false, cancels: true, avoids: false)
            }
        }
        if let end = item.end { take(end, of: job) }
    }

    private mutating func take(_ end: TokenBatch.End, of job: HolderJob) {
        switch end.kind {
        case .stop, .length:
            self.end(job, HolderLimits.done, isFruitless: false, cancels: false, avoids: false)
            how = .done(end.kind == .stop ? .stop : .length)
        case .refused:
            self.end(job, "refused: \(end.reason)", isFruitless: false, cancels: false, avoids: false)
            how = .failed("the node refused the turn: \(end.reason)")
        case .cancelled, .unavailable:
            self.end(job, "given back: \(end.reason)", isFruitless: false, cancels: false, avoids: true)
        case .failed:
            self.end(
                job, "failed: \(end.reason)", isFruitless: ids.count == job.start, cancels: false, avoids: true)
            guard jobs.isEmpty, how == nil else { return }
            // The record keeps them: it is one count for all holders.
            if history.count(where: { $0.endReason?.hasPrefix("failed: ") == true }) <= rules.retries {
                retry = Retry(reason: "generation failed: \(end.reason)", isLast: true)
            } else {
                how = .failed("generation failed: \(end.reason)")
            }
        }
    }

    /// An attempt is over; the turn is not.
    mutating func end(
        _ job: HolderJob, _ reason: String, isFruitless: Bool, cancels: Bool, avoids: Bool
    ) {
        guard let index = jobs.firstIndex(where: { $0.place.id == job.place.id }) else { return }
        jobs.remove(at: index)
        note(job, reason, isFruitless: isFruitless)
        chores.append(.drop(job, cancels: cancels, avoids: avoids))
    }

    private mutating func note(_ job: HolderJob, _ reason: String, isFruitless: Bool) {
        let reason = String(reason.prefix(HolderLimits.reasonCharacters))
        if isFruitless { fruitless += 1 }
        verdicts.append(TurnLog.Verdict(attempt: job.attempt, reason: reason, isFruitless: isFruitless))
        verdicts = verdicts.suffix(HolderLimits.verdicts)
        // Of jobs under one holder the last ones stand at the end; a hedge makes it two.
        if let index = history.lastIndex(where: {
            $0.endReason == nil && $0.node == job.place.node && $0.epoch == job.epoch
        }) {
            history[index].endReason = reason
        }
    }

    mutating func take(_ attempts: TurnLog.Attempts, _ plan: TurnPlan, _ startedAt: Int64, _ seen: Seen) {
        guard case .toBegin(let place, let isHedge) = stage, let lease else { return }
        // After a loss of Redis its count begins anew, ours goes on; epochs keep the jobs apart.
        self.attempts += 1
        verdicts = []
        // The first holder's plan stands.
        self.plan = plan
        history.append(TurnOutcome.Attempt(node: place.node, epoch: lease.epoch, startedAt: startedAt))
        history = history.suffix(TurnOutcome.maximumAttemptLog)
        let job = HolderJob(
            place: place, epoch: lease.epoch, attempt: attempts.total, start: ids.count, lastHeard: seen.uptime,
            isHedge: isHedge)
        guard plan.numericsID == place.numericsID else {
            note(job, "a node of another numerics id", isFruitless: false)
            chores.append(.giveBackPlace(place, avoids: false))
            stage = jobs.isEmpty ? .toSeek : .following
            return
        }
        stage = .toJob(job)
    }

    mutating func take(notTakenUnclearly isUnclear: Bool) {
        guard case .toJob(let job) = stage else { return }
        note(job, "the node did not take the job", isFruitless: false)
        chores.append(.drop(job, cancels: isUnclear, avoids: true))
        stage = jobs.isEmpty ? .toSeek : .following
    }

    mutating func take(hedge place: HolderPlace?) {
        stage = place.map { .toBegin($0, isHedge: true) } ?? .following
    }
}

enum HolderLimits {
    /// Milliseconds after which lease and audience are looked at again; a little less than between two ticks.
    static let lookInterval: Int64 = 900
    /// The reason of an attempt that came to a good end.
    static let done = "done"
    /// Of a reason in the attempt log.
    static let reasonCharacters = 200
    /// Verdicts kept for the record: an attempt that is over has at most one.
    static let verdicts = 64
}
