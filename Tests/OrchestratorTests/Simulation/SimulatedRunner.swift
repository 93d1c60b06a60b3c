import ChatCore
import Foundation
import RedisStore
import SeededRandom
import TurnProtocol

@testable import orchestrator

/// One delivery at a simulated orchestrator: the real holder, and where its steps stand.
struct SimulatedRunner {
    let turn: Turn
    let message: Int
    let channel: Int
    var holder: TurnHolder<SeededGenerator>
    var mail: [HolderNews] = []
    var hasGap = false
    var isOpen = false
    var sleepsUntil: Int64 = 0
    var background: HolderStep?
    /// Places that are in use.
    var places: Set<UInt64> = []
    var lastPlace: UInt64 = 0
    var outcome: [UInt8]?
    var isOver = false

    init(_ turn: Turn, message: Int, channel: Int, redelivered: Bool, name: String, seed: UInt64) {
        self.turn = turn
        self.message = message
        self.channel = channel
        var rules = HolderRules(name: name)
        rules.detachGrace = .max
        rules.hedges = turn.tier == .premium
        holder = TurnHolder(turn, redelivered: redelivered, rules: rules, random: SeededGenerator(seed: seed))
    }

    mutating func send(_ news: HolderNews) {
        guard isOpen else { return }
        // Small, so that overflows happen.
        if mail.count < 12 { mail.append(news) } else { hasGap = true }
    }
}

extension SimulatedWorld {
    /// Lets one runner do one step.
    mutating func step(_ number: Int, _ index: Int) {
        var runner = orchestrators[number].runners[index]
        guard !runner.isOver, runner.sleepsUntil <= clock else { return }
        if case .listen = runner.holder.step {
            advance(&runner)
            if runner.mail.isEmpty, !runner.hasGap {
                orchestrators[number].runners[index] = runner
                return
            }
        }
        let isLive = runner.channel == orchestrators[number].knowsChannel
        let result = perform(runner.holder.step, &runner, number, isLive: isLive)
        let next = runner.holder.resume(
            result,
            .init(
                now: clock + orchestrators[number].knownStep, uptime: clock, isDeliveryLive: isLive))
        runner.sleepsUntil = 0
        if case .pause(let milliseconds) = next { runner.sleepsUntil = clock + Int64(milliseconds) }
        if next == .leave {
            runner.isOver = true
            check(runner.places.isEmpty, "\(runner.turn.id) keeps places")
            check(runner.holder.jobs.isEmpty, "\(runner.turn.id) leaves jobs behind")
        }
        orchestrators[number].runners[index] = runner
    }

    /// Planning and waiting for a place take their time.
    private mutating func advance(_ runner: inout SimulatedRunner) {
        guard let waiting = runner.background, random.one(in: 3) else { return }
        switch waiting {
        case .plan:
            if faults, random.one(in: 8) {
                count("history unavailable")
                runner.send(.prepared(.unavailable("the shard is away")))
            } else {
                let plan = TurnPlan(prompt: [1], maxTokens: 64, historyTurns: 0, droppedTurns: 0)
                let answer = random.one(in: 5) ? cachedAnswer(to: runner.turn) : nil
                runner.send(.prepared(answer.map { .answered(plan, $0) } ?? .plan(plan)))
            }
        case .seekPlace(let numericsID):
            let fitting = nodes.filter { numericsID == nil || $0.numericsID == numericsID }
            guard let node = fitting.randomElement(using: &random) else { return }
            guard runner.mail.count < 12 else { return runner.hasGap = true }
            runner.mail.append(.placed(place(at: node, &runner)))
        default: break
        }
        runner.background = nil
    }

    /// What a node would have answered, as an identical turn left it.
    private mutating func cachedAnswer(to turn: Turn) -> CachedAnswer? {
        guard let node = nodes.randomElement(using: &random), let length = lengths[turn.id] else { return nil }
        count("answers from the cache")
        let tokens = (0..<length).map { SimulatedWorld.token(turn.id, $0, node.numericsID) }
        return CachedAnswer(
            turn: turn.id, numericsID: node.numericsID, prompt: [1], tokens: tokens, finishReason: .stop)
    }

    private func place(at node: Node, _ runner: inout SimulatedRunner) -> HolderPlace {
        runner.lastPlace += 1
        runner.places.insert(runner.lastPlace)
        return HolderPlace(id: runner.lastPlace, node: node.id, numericsID: node.numericsID)
    }

    private mutating func close(_ runner: inout SimulatedRunner) {
        for case .placed(let place) in runner.mail { runner.places.remove(place.id) }
        (runner.mail, runner.hasGap, runner.isOpen) = ([], false, false)
    }

    private mutating func perform(
        _ step: HolderStep, _ runner: inout SimulatedRunner, _ number: Int, isLive: Bool
    ) -> HolderResult {
        switch step {
        case .pause: return .done
        case .plan, .seekPlace:
            runner.background = step
            return .done
        case .stopWaiting:
            runner.background = nil
            return .done
        case .listen:
            let news = runner.mail
            let hasGap = runner.hasGap
            (runner.mail, runner.hasGap) = ([], false)
            return .news(news, hasGap: hasGap)
        case .drop(let job, let cancels, _):
            runner.places.remove(job.place.id)
            if cancels, let node = nodes.firstIndex(where: { $0.id == job.place.node }),
                let known = nodes[node].jobs[runner.turn.id],
                (known.epoch, known.attempt) <= (job.epoch, job.attempt)
            {
                nodes[node].jobs[runner.turn.id] = nil
            }
            return .done
        case .giveBackPlace(let place, _):
            runner.places.remove(place.id)
            return .done
        case .seekHedge(let numericsID, let besides):
            let other = nodes.first { $0.numericsID == numericsID && $0.id != besides }
            guard let other, Bool.random(using: &random) else { return .place(nil) }
            count("hedges")
            return .place(place(at: other, &runner))
        case .order(let job): return order(job, runner, number)
        case .publishToRung(let seconds):
            guard isLive || Bool.random(using: &random) else { return .failed(isPassing: true) }
            count("retries")
            publish(runner.turn.id, .rung(until: clock + Int64(seconds) * 1000))
            // The confirm may get lost: the message is there all the same.
            return faults && random.one(in: 8) ? .failed(isPassing: true) : .done
        case .bury:
            count("dead letters")
            deadLetters.append(runner.turn.id)
            return .done
        case .acknowledge:
            guard isStill(runner, number) else { return .failed(isPassing: true) }
            messages[runner.message] = nil
            return .done
        case .reject:
            // Each return is counted by the broker: no store's outage is a reason for one.
            check(false, "\(runner.turn.id) was given back")
            if isStill(runner, number) {
                messages[runner.message]?.place = .ready
                messages[runner.message]?.redelivered = true
            }
            return .done
        case .leave: return .done
        default: break
        }
        if refusesWrites, !isRead(step, runner) {
            count("writes refused")
            let error = RedisError.server(
                "NOREPLICAS Not enough good replicas to write. script: c83e, on @user_script:1.")
            return .failed(isPassing: Patience.isPassing(error))
        }
        let luck = luck()
        guard luck != .lostBefore else { return .failed(isPassing: true) }
        let result = performInRedis(step, &runner, number)
        return luck == .fine ? result : .failed(isPassing: true)
    }

    /// Whether Redis carries the step out while it takes no writes.
    private func isRead(_ step: HolderStep, _ runner: SimulatedRunner) -> Bool {
        switch step {
        case .lookForRecord, .findOwner: true
        case .acquire: log.records[runner.turn.id]?.hasEnded == true
        case .tidyUpIfEnded: log.records[runner.turn.id]?.hasEnded != true
        default: false
        }
    }

    private func isStill(_ runner: SimulatedRunner, _ number: Int) -> Bool {
        messages[runner.message]?.place == .delivered(orchestrator: number, channel: runner.channel)
            && runner.channel == orchestrators[number].channel
    }

    private mutating func order(_ job: HolderJob, _ runner: SimulatedRunner, _ number: Int) -> HolderResult {
        guard let node = nodes.firstIndex(where: { $0.id == job.place.node }) else {
            return .notTaken(isUnclear: false)
        }
        if let known = nodes[node].jobs[runner.turn.id],
            (known.epoch, known.attempt) >= (job.epoch, job.attempt)
        {
            return .done
        }
        nodes[node].jobs[runner.turn.id] = Job(
            epoch: job.epoch, attempt: job.attempt, orchestrator: orchestrators[number].name,
            next: runner.holder.ids.count)
        return faults && random.one(in: 20) ? .notTaken(isUnclear: true) : .done
    }
}
