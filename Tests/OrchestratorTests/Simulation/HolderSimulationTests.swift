import ChatCore
import RedisStore
import SeededRandom
import Testing

@testable import orchestrator

/// Many interleavings of the real holder with model stores: whatever dies or stops when, every turn ends once, and its
/// client has every token once, in order.
@Suite(.timeLimit(.minutes(2))) struct HolderSimulationTests {
    @Test func everyTurnEndsOnceWhateverDies() {
        var totals: [String: Int] = [:]
        var failed = 0
        for seed in 0..<400 as Range<UInt64> {
            var world = SimulatedWorld(seed: seed)
            world.run()
            totals.merge(world.counts) { $0 + $1 }
            if !world.violations.isEmpty {
                Issue.record("seed \(seed): \(world.violations.prefix(9).joined(separator: "; "))")
                failed += 1
                if failed > 3 { return }
            }
        }
        // The run is about what goes wrong: each of these did.
        for what in [
            "crashes", "pauses", "writes refused", "channels cut", "nodes killed", "Redis emptied", "takeovers",
            "logs written again",
            "retries", "dead letters", "cancellations", "history unavailable", "hedges", "lost items", "clock steps",
        ] {
            #expect(totals[what, default: 0] > 10, "\(what): \(totals)")
        }
    }
}

extension SimulatedWorld {
    init(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let first = Turn.sample(number: 1, run: seed)
        // Their gateways' clocks are wrong by up to half a second: the numbers that they were given say who comes first.
        var skewed = random
        func next(_ number: UInt64) -> Turn {
            let accepted = 1_790_000_000_000 + Int64.random(in: -500...500, using: &skewed)
            var turn = Turn.sample(number: number, run: seed, acceptedAt: accepted, after: first)
            turn.sequence = first.position + Int64(number)
            return turn
        }
        let second = next(2)
        let third = next(3)
        let premium = Turn.sample(number: 4, run: seed, tier: .premium)
        let poison = Turn.sample(number: 5, run: seed)
        let all = [first, second, third, premium] + (seed % 4 == 0 ? [poison] : [])
        turns = Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0) })
        // In the order of the list: a dictionary's own is another one in each process.
        lengths = Dictionary(uniqueKeysWithValues: all.map { ($0.id, Int.random(in: 1...12, using: &random)) })
        poisonous = seed % 4 == 0 ? [poison.id] : []
        clock = 1_790_000_001_000
        self.random = random
        for turn in all {
            _ = log.reserve(turn.id)
            order[turn.conversation, default: [:]][turn.id] = turn.position
            publish(turn.id)
            // A confirm that got lost: published twice.
            if self.random.one(in: 4) { publish(turn.id) }
        }
        // Nodes of another numerics id only where Redis keeps its plans: a plan that is lost with everybody who knew it is
        // made anew, for whatever node is there.
        for number in 0..<3 {
            nodes.append(Node(id: "n\(number)", numericsID: seed % 2 == 0 && number == 2 ? "y" : "x"))
        }
        lastNode = 2
        for number in 0..<2 { orchestrators.append(Orchestrator(name: "o\(number)")) }
        lastProcess = 1
    }

    private static let hour: Int64 = 3_600_000
    private var mayEmpty: Bool { nodes.allSatisfy { $0.numericsID == "x" } }

    mutating func run() {
        for _ in 0..<Int.random(in: 200...900, using: &random) { happen() }
        faults = false
        isRedisAway = false
        refusesWrites = false
        for number in orchestrators.indices { orchestrators[number].isPaused = false }
        // Set back once more, and known at once: whoever measured silence on this clock would not be done within the hour.
        if Bool.random(using: &random) {
            step -= SimulatedWorld.hour
            for number in orchestrators.indices { orchestrators[number].knownStep = step }
        }
        for _ in 0..<40_000 {
            if isAtRest { break }
            happen()
        }
        judge()
    }

    private var isAtRest: Bool {
        messages.isEmpty && deadLetters.isEmpty && orchestrators.allSatisfy { $0.runners.allSatisfy(\.isOver) }
    }

    private mutating func happen() {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<10: deliver()
        case 10..<25: stepNode()
        case 25..<30: pass(Int64.random(in: 1...250, using: &random))
        case 30..<33: bury()
        case 33..<36:
            for number in orchestrators.indices where !orchestrators[number].isPaused {
                orchestrators[number].knowsChannel = orchestrators[number].channel
                if Bool.random(using: &random) { orchestrators[number].knownStep = step }
            }
        case 36..<40: if faults { goWrong() }
        default:
            let awake = orchestrators.indices.filter { !orchestrators[$0].isPaused }
            guard let number = awake.randomElement(using: &random) else { return }
            orchestrators[number].runners.removeAll(where: \.isOver)
            guard let index = orchestrators[number].runners.indices.randomElement(using: &random) else { return }
            step(number, index)
        }
    }

    private mutating func goWrong() {
        let number = Int.random(in: orchestrators.indices, using: &random)
        switch Int.random(in: 0..<21, using: &random) {
        case 0, 1:
            count("crashes")
            breakChannel(number)
            lastProcess += 1
            orchestrators[number] = Orchestrator(
                name: "o\(lastProcess)", channel: orchestrators[number].channel, knownStep: step)
            orchestrators[number].knowsChannel = orchestrators[number].channel
        case 2, 3:
            count("pauses")
            orchestrators[number].isPaused = true
            // The broker gives up a consumer that is silent; the process learns that after it wakes up.
            if Bool.random(using: &random) { breakChannel(number) }
        case 4, 5, 6, 7: orchestrators[number].isPaused = false
        case 8:
            count("channels cut")
            breakChannel(number)
        case 9, 10:
            count("nodes killed")
            killNode(Int.random(in: nodes.indices, using: &random))
        case 11 where mayEmpty && random.one(in: 2):
            count("Redis emptied")
            wasEmptied = true
            log.lose()
            order = [:]
        case 12: isRedisAway = true
        case 13, 14: isRedisAway = false
        case 16: refusesWrites = true
        case 20:
            // Back by an hour, and forward to the right time again: beyond that deadlines would pass, as they should.
            count("clock steps")
            step = step == 0 ? -SimulatedWorld.hour : 0
        case 17, 18, 19: refusesWrites = false
        case 15 where random.one(in: 3):
            guard let turn = turns.keys.sorted().randomElement(using: &random) else { return }
            count("cancellations")
            if log.requestCancel(turn, reason: "client") { tellAll(turn, .cancelRequested) }
        default: break
        }
    }

    /// For a failure's message.
    private var whereEverybodyStands: String {
        let runners = orchestrators.flatMap { orchestrator in
            orchestrator.runners.filter { !$0.isOver }.map { runner in
                "\(orchestrator.name) channel \(runner.channel) of \(orchestrator.channel), known "
                    + "\(orchestrator.knowsChannel): \(runner.turn.id) \(runner.holder.stage) \(runner.holder.step), "
                    + "recovery \(runner.holder.recovery), \(runner.holder.ids.count) tokens, jobs \(runner.holder.jobs)"
            }
        }
        return (runners + ["order \(order.values)", "nodes \(nodes)", "messages \(messages)"]).joined(separator: "\n")
    }

    private mutating func judge() {
        if !isAtRest { violations.append("not at rest:\n\(whereEverybodyStands)") }
        for (id, turn) in turns {
            let client = clients[id, default: Client()]
            let outcomes = settled[id, default: []]
            check(!outcomes.isEmpty, "\(id) was not settled")
            check(!client.ends.isEmpty, "\(id) did not end for its client")
            // A plan is one node's numerics: all tokens are of the same.
            let texts = ["x", "y"].map { numericsID in
                (0..<client.tokens.count).map { SimulatedWorld.token(id, $0, numericsID) }
            }
            check(texts.contains(client.tokens), "\(id): the client's tokens are spliced")
            check(client.tokens.count <= lengths[id, default: 0], "\(id) has too many tokens")
            if !wasEmptied {
                check(Set(outcomes).count <= 1, "\(id) ended in several ways: \(outcomes)")
                check(client.ends.count == 1, "\(id) was shown \(client.ends)")
                check(client.ends.first == outcomes.first, "\(id): shown \(client.ends), settled \(outcomes)")
                check(client.ends.first?.hasSuffix(":\(client.tokens.count)") == true, "\(id): tokens are missing")
            }
            if client.ends.contains(where: { $0.hasPrefix("done") }) {
                check(client.tokens.count == lengths[id], "\(id) is done without all its tokens")
            }
            // A delivery that was given to another before Redis was emptied may make the ended turn's record once more; such a
            // leftover goes with its deadline.
            if wasEmptied { continue }
            if let record = log.records[id] {
                check(record.owner.isEmpty && record.hasEnded, "\(id): a lease is left")
            }
            check(order[turn.conversation]?[id] == nil, "\(id) stands in its conversation's order")
        }
    }
}
