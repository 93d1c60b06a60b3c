import ChatCore
import Foundation
import RedisStore
import SeededRandom
import TurnProtocol

@testable import orchestrator

/// A cluster in one thread: model broker, model Redis, model nodes, and orchestrators that run the real holder one step at a
/// time. Everything that happens, and everything that goes wrong, comes from one seed.
struct SimulatedWorld {
    struct Message {
        let turn: TurnID
        var redelivered = false
        var place: Place

        enum Place: Equatable {
            case ready
            /// Delivered on a channel: an orchestrator's number and the channel's generation.
            case delivered(orchestrator: Int, channel: Int)
            case rung(until: Int64)
        }
    }

    struct Node {
        let id: String
        let numericsID: String
        var jobs: [TurnID: Job] = [:]
    }

    struct Job {
        let epoch: Int64
        let attempt: Int
        let orchestrator: String
        var next: Int
    }

    struct Orchestrator {
        var name: String
        var isPaused = false
        var channel = 0
        /// Whether the process knows that its channel is gone.
        var knowsChannel = 0
        var runners: [SimulatedRunner] = []
        /// Of `step`, what the process knows: it asks Redis for the time every few seconds.
        var knownStep: Int64 = 0
    }

    /// What a client that follows a turn has seen.
    struct Client {
        var tokens: [Int32] = []
        var ends: [String] = []
    }

    var random: SeededGenerator
    /// Milliseconds that pass for everybody: the broker's, and what monotonic clocks count.
    var clock: Int64
    /// Milliseconds by which somebody has set Redis' clock, from which deadlines and epochs come.
    var step: Int64 = 0
    var redisClock: Int64 { clock + step }
    let turns: [TurnID: Turn]
    let lengths: [TurnID: Int]
    let poisonous: Set<TurnID>
    var log = TurnLogModel()
    var order: [ConversationKey: [TurnID: Int64]] = [:]
    var messages: [Int: Message] = [:]
    var lastMessage = 0
    var deadLetters: [TurnID] = []
    var nodes: [Node] = []
    var lastNode = 0
    var lastProcess = 0
    var orchestrators: [Orchestrator] = []
    /// Outcomes in the order in which the response queue got them.
    var settled: [TurnID: [String]] = [:]
    var clients: [TurnID: Client] = [:]
    /// Turns that one conversation runs at a time: head first.
    var generated: [TurnID] = []
    var isRedisAway = false
    /// Redis answers, and takes no writes.
    var refusesWrites = false
    var faults = true
    var wasEmptied = false
    var counts: [String: Int] = [:]
    var violations: [String] = []

    mutating func count(_ what: String) { counts[what, default: 0] += 1 }

    mutating func check(_ holds: Bool, _ what: @autoclosure () -> String) {
        if !holds { violations.append(what()) }
    }

    /// Same turn, same index, same token: invariant 4, which the engine's own tests show.
    static func token(_ turn: TurnID, _ index: Int, _ numericsID: String) -> Int32 {
        Int32(truncatingIfNeeded: HashRing.hash("\(turn)/\(index)/\(numericsID)") & 0x7FFF_FFFF)
    }

    // MARK: Redis

    /// Whether this operation is lost: before it was carried out, or its reply.
    enum Luck { case fine, lostBefore, lostAfter }

    mutating func luck() -> Luck {
        if isRedisAway { return .lostBefore }
        guard faults, random.one(in: 40) else { return .fine }
        return Bool.random(using: &random) ? .lostBefore : .lostAfter
    }

    mutating func head(of conversation: ConversationKey) -> TurnID? {
        order[conversation]?.min { ($0.value, $0.key) < ($1.value, $1.key) }?.key
    }

    mutating func leaveOrder(_ turn: Turn) {
        order[turn.conversation]?[turn.id] = nil
        guard let head = head(of: turn.conversation), !(faults && random.one(in: 4)) else { return }
        tellAll(head, .becameHead)
    }

    // MARK: Who hears what

    mutating func tellAll(_ turn: TurnID?, _ news: HolderNews) {
        for number in orchestrators.indices {
            for runner in orchestrators[number].runners.indices
            where turn == nil || orchestrators[number].runners[runner].turn.id == turn {
                orchestrators[number].runners[runner].send(news)
            }
        }
    }

    mutating func send(_ item: TokenBatch.Item, to name: String) {
        guard let number = orchestrators.firstIndex(where: { $0.name == name }) else { return }
        if faults, random.one(in: 60) { return count("lost items") }
        let times = faults && random.one(in: 30) ? 2 : 1
        for runner in orchestrators[number].runners.indices
        where orchestrators[number].runners[runner].turn.id == item.turn {
            for _ in 0..<times { orchestrators[number].runners[runner].send(.tokens(item)) }
        }
    }

    // MARK: Broker

    mutating func publish(_ turn: TurnID, _ place: Message.Place = .ready) {
        lastMessage += 1
        messages[lastMessage] = Message(turn: turn, place: place)
    }

    /// The channel is gone: what it had out is given out again.
    mutating func breakChannel(_ number: Int) {
        let channel = orchestrators[number].channel
        for (id, message) in messages {
            guard case .delivered(number, channel) = message.place else { continue }
            messages[id]?.place = .ready
            messages[id]?.redelivered = true
        }
        orchestrators[number].channel += 1
    }

    // MARK: Time and others' work

    mutating func pass(_ milliseconds: Int64) {
        let second = clock / 1000
        clock += milliseconds
        for (id, message) in messages {
            if case .rung(let until) = message.place, until <= clock {
                messages[id]?.place = .ready
                messages[id]?.redelivered = false
            }
        }
        if clock / 1000 != second { tellAll(nil, .tick) }
    }

    mutating func deliver() {
        let ready = messages.filter { $0.value.place == .ready }.keys.sorted()
        let awake = orchestrators.indices.filter { !orchestrators[$0].isPaused }
        guard let id = ready.randomElement(using: &random), let message = messages[id], let turn = turns[message.turn],
            let number = awake.randomElement(using: &random)
        else { return }
        orchestrators[number].knowsChannel = orchestrators[number].channel
        messages[id]?.place = .delivered(orchestrator: number, channel: orchestrators[number].channel)
        orchestrators[number].runners.append(
            SimulatedRunner(
                turn, message: id, channel: orchestrators[number].channel, redelivered: message.redelivered,
                name: orchestrators[number].name, seed: random.next()))
    }

    mutating func stepNode() {
        guard let index = nodes.indices.randomElement(using: &random),
            let id = nodes[index].jobs.keys.sorted().randomElement(using: &random), var job = nodes[index].jobs[id]
        else { return }
        if poisonous.contains(id) {
            count("nodes killed by poison")
            return killNode(index)
        }
        let length = lengths[id] ?? 1
        func item(_ tokens: [Int32], _ end: TokenBatch.End?) -> TokenBatch.Item {
            TokenBatch.Item(
                turn: id, epoch: job.epoch, attempt: job.attempt, first: job.next, tokens: tokens, end: end,
                timeToFirstToken: nil)
        }
        if faults, random.one(in: 50) {
            nodes[index].jobs[id] = nil
            let kind: TokenBatch.End.Kind = Bool.random(using: &random) ? .failed : .unavailable
            count("attempts \(kind)")
            return send(item([], TokenBatch.End(kind, reason: "chance")), to: job.orchestrator)
        }
        let new = min(Int.random(in: 1...3, using: &random), length - job.next)
        let tokens = (job.next..<job.next + max(new, 0)).map {
            SimulatedWorld.token(id, $0, nodes[index].numericsID)
        }
        let isLast = job.next + tokens.count >= length
        send(item(tokens, isLast ? TokenBatch.End(.stop) : nil), to: job.orchestrator)
        job.next += tokens.count
        nodes[index].jobs[id] = isLast ? nil : job
    }

    mutating func killNode(_ index: Int) {
        let id = nodes[index].id
        let numericsID = nodes[index].numericsID
        lastNode += 1
        nodes[index] = Node(id: "n\(lastNode)", numericsID: numericsID)
        tellAll(nil, .nodeLost(id))
    }

    /// The queue worker: ends what lies among the dead letters, through the same log.
    mutating func bury() {
        guard let id = deadLetters.first, let turn = turns[id], !refusesWrites, luck() == .fine else { return }
        guard
            case .acquired(let lease, let progress) = log.acquire(
                id, owner: "worker", redelivered: true, creates: true, micros: redisClock * 1000)
        else {
            deadLetters.removeFirst()
            return leaveOrder(turn)
        }
        let outcome = progress.outcome ?? Array("failed:\(progress.tokens.count)".utf8)
        _ = log.recordOutcome(lease, outcome: outcome)
        settle(id, outcome)
        if log.end(lease, next: progress.tokens.count) == true { show(id, outcome) }
        leaveOrder(turn)
        deadLetters.removeFirst()
    }

    mutating func settle(_ turn: TurnID, _ outcome: [UInt8]) {
        settled[turn, default: []].append(String(decoding: outcome, as: UTF8.self))
    }

    mutating func show(_ turn: TurnID, _ outcome: [UInt8]) {
        clients[turn, default: Client()].ends.append(String(decoding: outcome, as: UTF8.self))
    }

    /// What stands in the log reaches the client, from where it left off.
    mutating func showTokens(of turn: TurnID) {
        let logged = log.records[turn]?.tokens.map(\.id) ?? []
        let seen = clients[turn, default: Client()].tokens.count
        clients[turn, default: Client()].tokens += logged.dropFirst(seen)
    }
}
