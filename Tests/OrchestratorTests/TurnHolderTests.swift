import ChatCore
import RedisStore
import SeededRandom
import Testing
import TurnProtocol

@testable import orchestrator

/// What a turn's holder makes of single events.
@Suite struct TurnHolderTests {
    private typealias Holder = TurnHolder<SeededGenerator>

    private let turn = Turn.sample(number: 1, run: 1)
    private let lease: TurnLog.Lease
    private let node = HolderPlace(id: 1, node: "n1", numericsID: "x")

    init() { lease = TurnLog.Lease(turn: turn.id, epoch: 7, owner: "me") }

    /// - Parameter step: milliseconds by which somebody has set the Redis clock.
    private func seen(_ later: Int64 = 0, step: Int64 = 0, isLive: Bool = true) -> Holder.Seen {
        .init(now: turn.acceptedAt + later + step, uptime: later, isDeliveryLive: isLive)
    }

    private func plan(numericsID: String? = "x") -> TurnPlan {
        var plan = TurnPlan(prompt: [1, 2], maxTokens: 9, historyTurns: 0, droppedTurns: 0)
        plan.numericsID = numericsID
        return plan
    }

    private func item(
        first: Int, _ tokens: [Int32], epoch: Int64 = 7, attempt: Int = 1, end: TokenBatch.End? = nil
    ) -> HolderNews {
        .tokens(
            .init(
                turn: turn.id, epoch: epoch, attempt: attempt, first: first, tokens: tokens, end: end,
                timeToFirstToken: nil))
    }

    /// A holder that follows its first attempt.
    private func following(
        _ turn: Turn? = nil, rules: HolderRules = HolderRules(name: "me"), stalled: Int = 0
    ) -> Holder {
        var holder = Holder(turn ?? self.turn, redelivered: false, rules: rules, random: SeededGenerator(seed: 1))
        let progress = TurnLog.Progress(attempts: .init(total: 0, withoutProgress: stalled))
        #expect(
            holder.resume(.acquisition(.acquired(lease, progress), isHeldHere: false), seen()) == .plan(insists: true))
        #expect(holder.resume(.done, seen()) == .listen)
        #expect(
            holder.resume(.news([.prepared(.plan(plan(numericsID: nil)))], hasGap: false), seen())
                == .seekPlace(numericsID: nil))
        #expect(holder.resume(.done, seen()) == .listen)
        #expect(holder.resume(.news([.placed(node)], hasGap: false), seen()) == .begin(node, []))
        let job = HolderJob(place: node, epoch: 7, attempt: 1, start: 0, lastHeard: 0)
        #expect(
            holder.resume(
                .begun(.init(total: 1, withoutProgress: stalled), plan: plan(), startedAt: self.turn.acceptedAt),
                seen())
                == .order(job))
        return holder
    }

    @Test func doublesAndNewsOfOldAttemptsAreDropped() {
        var holder = following()
        #expect(holder.resume(.done, seen()) == .listen)
        let news = [
            item(first: 0, [5, 6]), item(first: 0, [5, 6]), item(first: 1, [6, 7]), item(first: 3, [9], epoch: 6),
            item(first: 3, [9], attempt: 0),
        ]
        #expect(holder.resume(.news(news, hasGap: false), seen()) == .append(first: 0, isFinal: false))
        #expect(holder.ids == [5, 6, 7])
        #expect(holder.resume(.appended(.appended(.init(readers: 1))), seen()) == .listen)
    }

    @Test func anIdenticalTurnsAnswerIsLoggedWholeBehindItsPlan() {
        var holder = Holder(turn, redelivered: false, rules: HolderRules(name: "me"), random: SeededGenerator(seed: 1))
        let progress = TurnLog.Progress(attempts: .init(total: 0, withoutProgress: 0))
        _ = holder.resume(.acquisition(.acquired(lease, progress), isHeldHere: false), seen())
        _ = holder.resume(.done, seen())
        let other = Turn.sample(number: 2, run: 1).id
        let answer = CachedAnswer(
            turn: other, numericsID: "x", prompt: [1, 2], tokens: [5, 6, 7], finishReason: .length)
        let news = HolderNews.prepared(.answered(plan(numericsID: nil), answer))
        #expect(holder.resume(.news([news, .tick], hasGap: false), seen()) == .keepPlan)
        #expect(holder.plan == plan(numericsID: "x") && holder.answerOf == other)
        #expect(holder.resume(.done, seen()) == .append(first: 0, isFinal: true))
        #expect(holder.ids == [5, 6, 7])
        #expect(
            holder.resume(.appended(.appended(.init(readers: 1))), seen())
                == .stopWaiting || holder.step == .end(.record, .done(.length)))
        #expect(holder.attempts == 0 && holder.history.isEmpty)
    }

    @Test func aPlanThatIsTooLargeIsMadeAnewUntilAnAttemptStoredIt() {
        var holder = Holder(turn, redelivered: false, rules: HolderRules(name: "me"), random: SeededGenerator(seed: 1))
        let progress = TurnLog.Progress(attempts: .init(total: 0, withoutProgress: 0))
        _ = holder.resume(.acquisition(.acquired(lease, progress), isHeldHere: false), seen())
        _ = holder.resume(.done, seen())
        _ = holder.resume(.news([.prepared(.plan(plan(numericsID: nil)))], hasGap: false), seen())
        _ = holder.resume(.done, seen())
        #expect(holder.resume(.news([.plannedTooLarge], hasGap: false), seen()) == .plan(insists: true))
        _ = holder.resume(.done, seen())
        // One that an earlier holder stored stands.
        _ = holder.resume(.news([.prepared(.plan(plan()))], hasGap: false), seen())
        #expect(holder.resume(.done, seen()) == .listen)
        #expect(
            holder.resume(.news([.plannedTooLarge], hasGap: false), seen()) == .seekPlace(numericsID: "x"))
    }

    @Test func whoWaitedForARoomyNodeFailsWithBothNumbers() {
        var holder = Holder(turn, redelivered: false, rules: HolderRules(name: "me"), random: SeededGenerator(seed: 1))
        let progress = TurnLog.Progress(attempts: .init(total: 0, withoutProgress: 0))
        _ = holder.resume(.acquisition(.acquired(lease, progress), isHeldHere: false), seen())
        _ = holder.resume(.done, seen())
        _ = holder.resume(.news([.prepared(.plan(plan(numericsID: nil)))], hasGap: false), seen())
        _ = holder.resume(.done, seen())
        var late = seen()
        (late.now, late.roomiestNode) = (turn.deadline, 3)
        _ = holder.resume(.news([.tick], hasGap: false), late)
        _ = holder.resume(.appended(.appended(.init(readers: 1))), late)
        let tokens = plan().tokens
        #expect(holder.how?.error?.contains("holds its \(tokens) tokens; the roomiest holds 3") == true)
    }

    @Test func aGapOrdersTheRestAnew() {
        var holder = following()
        _ = holder.resume(.done, seen())
        let step = holder.resume(.news([item(first: 0, [5]), item(first: 2, [7])], hasGap: false), seen())
        guard case .drop(_, cancels: true, avoids: false) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(holder.resume(.done, seen()) == .append(first: 0, isFinal: false))
        #expect(holder.resume(.appended(.appended(.init(readers: 1))), seen()) == .seekPlace(numericsID: "x"))
        #expect(holder.history.first?.endReason == "tokens were lost")
    }

    /// A holder that has heard a first token. Its deadline is further away than a test sets the clock.
    private func speaking() -> Holder {
        var holder = following(Turn.sample(number: 1, run: 1, lifetime: 10_000_000))
        _ = holder.resume(.done, seen())
        _ = holder.resume(.news([item(first: 0, [5])], hasGap: false), seen())
        return holder
    }

    /// Somebody sets Redis' clock while a node speaks: what is silent, and when to look, goes by time that has passed.
    @Test(arguments: [-3_600_000, 3_600_000] as [Int64])
    func aClockThatIsSetEndsNoAttemptAndHidesNoSilence(step: Int64) {
        var holder = speaking()
        #expect(holder.resume(.appended(.appended(.init(readers: 1))), seen()) == .listen)
        #expect(holder.resume(.news([.tick], hasGap: false), seen(500, step: step)) == .listen)
        #expect(holder.jobs.count == 1)
        // Lease and audience are looked at as often as before.
        #expect(
            holder.resume(.news([.tick], hasGap: false), seen(2000, step: step)) == .append(first: 1, isFinal: false))
        #expect(holder.resume(.appended(.appended(.init(readers: 1))), seen(2000, step: step)) == .listen)
        // And a node that says nothing for so long is left.
        let late = HolderRules(name: "me").silence + 1
        let end = holder.resume(.news([.tick], hasGap: false), seen(late, step: step))
        guard case .drop(_, cancels: true, _) = end else {
            Issue.record("\(end)")
            return
        }
        #expect(holder.history.first?.endReason == "the node fell silent")
    }

    /// A store fails before and after the clock is set: how long readers could register is time that has passed.
    @Test(arguments: [-3_600_000, 3_600_000] as [Int64])
    func aClockThatIsSetMakesNoReaderAbsent(step: Int64) {
        var holder = speaking()
        _ = holder.resume(.failed(isPassing: true), seen())
        #expect(holder.resume(.done, seen(1000, step: step)) == .append(first: 0, isFinal: false))
        let grace = HolderRules(name: "me").detachGrace
        let absent = TurnLog.Audience(readers: 0, absentForMilliseconds: grace + 1)
        // Redis counts from before its failure.
        _ = holder.resume(.appended(.appended(absent)), seen(1000, step: step))
        #expect(!holder.isCancelled)
        #expect(
            holder.resume(.news([item(first: 1, [6])], hasGap: false), seen(grace + 2, step: step))
                == .append(first: 1, isFinal: false))
        _ = holder.resume(.appended(.appended(absent)), seen(grace + 2, step: step))
        #expect(holder.isCancelled)
    }

    @Test func aHolderThatWakesUpFencedLetsGo() {
        var holder = following()
        _ = holder.resume(.done, seen())
        _ = holder.resume(.news([item(first: 0, [5])], hasGap: false), seen())
        // Another has the turn, and this process does not know yet that its channel is gone.
        #expect(holder.resume(.appended(.fenced), seen()) == .lookForRecord)
        guard case .stopWaiting = holder.resume(.record(exists: true), seen()),
            case .drop(_, cancels: true, _) = holder.resume(.done, seen())
        else {
            Issue.record("it goes on")
            return
        }
        #expect(holder.resume(.done, seen()) == .pause(milliseconds: 100))
        #expect(holder.resume(.done, seen()) == .acquire(.nobody, creates: true))
        // Now it knows.
        _ = holder.resume(.failed(isPassing: true), seen(isLive: false))
        #expect(holder.resume(.done, seen(isLive: false)) == .leave)
    }

    @Test func poisonIsFiveAttemptsThatBroughtNothing() {
        var holder = following(stalled: 4)
        _ = holder.resume(.done, seen())
        _ = holder.resume(.news([.nodeLost("n1")], hasGap: false), seen())
        var steps: [HolderStep] = []
        for _ in 0..<4 { steps.append(holder.resume(.done, seen())) }
        #expect(
            steps == [
                .stopWaiting, .bury(reason: "generation began 5 times and brought no token"),
                .release(parks: false, [.init(attempt: 1, reason: "the node was lost", isFruitless: true)]),
                .acknowledge,
            ])
        #expect(holder.resume(.done, seen()) == .leave)
    }

    @Test func aTurnThatEndsItsOrchestratorsIsGivenUp() {
        var holder = Holder(turn, redelivered: true, rules: HolderRules(name: "me"), random: SeededGenerator(seed: 1))
        #expect(holder.step == .acquire(.anybody, creates: true))
        #expect(holder.resume(.acquisition(.acquired(lease, .init()), isHeldHere: false), seen()) == .joinOrder)
        #expect(holder.resume(.head(turn.id), seen()) == .plan(insists: true))
        _ = holder.resume(.done, seen())
        #expect(holder.resume(.news([.prepared(.deadly(5))], hasGap: false), seen()) == .stopWaiting)
        #expect(
            holder.resume(.done, seen()) == .bury(reason: "planning it ended its orchestrator 5 times"))
    }

    @Test func aNodeWithoutRoomAccusesNobody() {
        var holder = following(stalled: 4)
        _ = holder.resume(.done, seen())
        let step = holder.resume(
            .news([item(first: 0, [], end: .init(.unavailable, reason: "full"))], hasGap: false), seen())
        guard case .drop(_, cancels: false, avoids: true) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(holder.resume(.done, seen()) == .seekPlace(numericsID: "x"))
    }

    @Test func failedGenerationIsTriedAgainLaterAndNotForEver() {
        var rules = HolderRules(name: "me")
        rules.retries = 0
        for (rules, expected) in [
            (HolderRules(name: "me"), HolderStep.publishToRung(seconds: 1)),
            (rules, .end(.record, .failed("generation failed: NaN"))),
        ] {
            var holder = following(rules: rules)
            _ = holder.resume(.done, seen())
            _ = holder.resume(.news([item(first: 0, [], end: .init(.failed, reason: "NaN"))], hasGap: false), seen())
            #expect(holder.resume(.done, seen()) == .stopWaiting)
            #expect(holder.resume(.done, seen()) == expected)
            guard case .publishToRung = expected else { continue }
            let verdict = TurnLog.Verdict(attempt: 1, reason: "failed: NaN", isFruitless: true)
            #expect(holder.resume(.done, seen()) == .release(parks: true, [verdict]))
            #expect(holder.resume(.done, seen()) == .acknowledge)
            #expect(holder.resume(.done, seen()) == .leave)
        }
    }

    @Test func retriesNeverGoBeyondTheDeadline() {
        let rules = HolderRules(name: "me")
        let ladder = [1, 2, 4, 8, 16, 32, 64]
        #expect(rules.delays(retry: 0, ladder: ladder, left: 100_000) == [1])
        #expect(rules.delays(retry: 3, ladder: ladder, left: 100_000) == [4, 8])
        #expect(rules.delays(retry: 60, ladder: ladder, left: 1_000_000) == [8, 16])
        #expect(rules.delays(retry: 60, ladder: ladder, left: 4_500) == [1, 2])
        #expect(rules.delays(retry: 0, ladder: ladder, left: 1_900) == [])
    }

    @Test func theFirstTokenOfTwoNodesWins() {
        let premium = Turn.sample(number: 1, run: 1, tier: .premium)
        var rules = HolderRules(name: "me")
        rules.hedges = true
        var holder = following(premium, rules: rules)
        #expect(holder.resume(.done, seen()) == .seekHedge(numericsID: "x", besides: "n1"))
        let other = HolderPlace(id: 2, node: "n2", numericsID: "x")
        #expect(holder.resume(.place(other), seen()) == .begin(other, []))
        _ = holder.resume(.begun(.init(total: 2, withoutProgress: 0), plan: plan(), startedAt: turn.acceptedAt), seen())
        #expect(holder.resume(.done, seen()) == .listen && holder.jobs.count == 2)
        let step = holder.resume(.news([item(first: 0, [5], attempt: 2)], hasGap: false), seen())
        guard case .drop(let loser, cancels: true, avoids: false) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(loser.place == node && holder.jobs.map(\.place) == [other])
        #expect(holder.history.map(\.endReason) == ["another node was first", nil])
    }

    @Test func theHedgesBudgetIsAShareOfTheWork() {
        var books = Hedging.Books(share: 0.1)
        #expect(!books.allows(1))
        for _ in 0..<100 { books.add(10) }
        #expect(books.allows(100) && !books.allows(101))
        books.duplicate(60)
        #expect(books.allows(40) && !books.allows(41))
    }

    @Test func aDuplicateTakesTheTurnFromTheDead() {
        var holder = Holder(turn, redelivered: false, rules: HolderRules(name: "me"), random: SeededGenerator(seed: 1))
        let held = HolderResult.acquisition(.held(owner: "other"), isHeldHere: false)
        for look in 1...6 {
            #expect(holder.resume(held, seen()) == .findOwner("other"))
            let step = holder.resume(.owner(isAlive: false), seen())
            #expect(step == (look < 6 ? .pause(milliseconds: 500) : .acquire(.owner("other"), creates: true)))
            guard look < 6 else { break }
            #expect(holder.resume(.done, seen()) == .acquire(.nobody, creates: false))
        }
    }

    @Test func anExpiredTurnSaysWhatItWaitedFor() {
        let second = Turn.sample(number: 2, run: 1, after: turn)
        var holder = Holder(
            second, redelivered: false, rules: HolderRules(name: "me"), random: SeededGenerator(seed: 1))
        let lease = TurnLog.Lease(turn: second.id, epoch: 7, owner: "me")
        #expect(holder.resume(.acquisition(.acquired(lease, .init()), isHeldHere: false), seen()) == .joinOrder)
        #expect(holder.resume(.head(turn.id), seen()) == .listen)
        _ = holder.resume(.news([.tick], hasGap: false), seen(600_010))
        _ = holder.resume(.appended(.appended(.init(readers: 1))), seen(600_010))
        let step = holder.resume(.done, seen(600_010))
        guard case .end(.record, let how) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(how.error == "the turn's deadline has passed: it waited for an earlier turn of its conversation")
    }

    @Test func anAppendIsALookAtTheLeaseToo() {
        var holder = following()
        #expect(holder.resume(.done, seen()) == .listen)
        #expect(
            holder.resume(.news([item(first: 0, [5])], hasGap: false), seen(500)) == .append(first: 0, isFinal: false))
        #expect(holder.resume(.appended(.appended(.init(readers: 1))), seen(500)) == .listen)
        #expect(holder.resume(.news([.tick], hasGap: false), seen(1000)) == .listen)
        #expect(holder.resume(.news([.tick], hasGap: false), seen(2000)) == .append(first: 1, isFinal: false))
        #expect(holder.resume(.appended(.appended(.init(readers: 1))), seen(2000)) == .listen)
        // News of an attempt that is over bring no append, and may keep the ticks away.
        let stale = item(first: 1, [6], epoch: 6)
        #expect(holder.resume(.news([stale], hasGap: false), seen(3000)) == .listen)
        #expect(holder.resume(.news([stale], hasGap: false), seen(4000)) == .append(first: 1, isFinal: false))
    }

    /// Each return is counted, and the broker gives the message out again at once.
    @Test func whatCannotBeMendedHereGoesBackAfterAPause() {
        var holder = following()
        _ = holder.resume(.done, seen())
        var steps = [holder.resume(.failed(isPassing: false), seen())]
        while steps.last != .leave, steps.count < 10 { steps.append(holder.resume(.done, seen())) }
        let before = steps[steps.count - 3]
        guard case .pause(let milliseconds) = before else {
            Issue.record("\(steps)")
            return
        }
        #expect(HolderRules(name: "me").pauseBeforeReturn.contains(milliseconds))
        #expect(steps.suffix(2) == [.reject, .leave] && steps.contains(.release(parks: false, holder.verdicts)))
        #expect(holder.verdicts.map(\.reason) == ["its orchestrator could not go on with it"])
        // A process that drains does not wait, neither at first nor in that pause.
        var other = following()
        _ = other.resume(.done, seen())
        _ = other.resume(.failed(isPassing: false), seen())
        while other.step != .leave {
            guard case .pause = other.step else {
                _ = other.resume(.done, seen())
                continue
            }
            #expect([.stopWaiting, .reject].contains(other.resume(.draining, seen())))
            while other.step != .leave, other.step != .reject { _ = other.resume(.done, seen()) }
            #expect(other.step == .reject)
            break
        }
    }

    /// While writes are refused no gateway can register: when they are taken again, nobody is absent yet.
    @Test func readersThatCouldNotRegisterAreNotAbsent() {
        var rules = HolderRules(name: "me")
        rules.silence = 600_000
        var holder = following(rules: rules)
        _ = holder.resume(.done, seen())
        #expect(holder.resume(.news([item(first: 0, [5])], hasGap: false), seen()) == .append(first: 0, isFinal: false))
        guard case .pause = holder.resume(.failed(isPassing: true), seen(60_000)) else {
            Issue.record("\(holder.step)")
            return
        }
        #expect(holder.resume(.done, seen(60_500)) == .append(first: 0, isFinal: false))
        let absent = TurnLog.Audience(readers: 0, absentForMilliseconds: 60_000)
        #expect(holder.resume(.appended(.appended(absent)), seen(60_500)) == .listen)
        #expect(!holder.isCancelled)
        #expect(holder.resume(.news([.tick], hasGap: false), seen(95_000)) == .append(first: 1, isFinal: false))
        _ = holder.resume(.appended(.appended(absent)), seen(95_000))
        #expect(holder.isCancelled)
    }
}
