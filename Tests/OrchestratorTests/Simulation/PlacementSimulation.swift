import ChatCore
import RedisStore
import SeededRandom

@testable import orchestrator

/// Several orchestrators and nodes in simulated time: turns come in, get places, take a random time, end.
///
/// What orchestrators know of each other is as old as it is in a cluster: they look every 200 ms, one after the other. A
/// node runs as many turns as it has places and the rest in the order of their coming.
struct PlacementSimulation {
    struct Run {
        let turn: TurnID
        let owner: UserKey
        let kind: Turn.Kind
        let arrived: Int
        var started: Int?
        var ended: Int?
    }

    private struct Job {
        let run: Int
        let orchestrator: Int
        let hold: UInt64
        var endsAt: Int?
    }

    private var placements: [Placement]
    private let nodes: [NodeAnnouncement]
    private var atNodes: [String: [Job]] = [:]
    private var loads: [OrchestratorLoad]
    private var random: SeededGenerator
    private(set) var runs: [Run] = []
    private(set) var now = 0
    /// Milliseconds of running turns, and of places while turns waited for them.
    private(set) var busy = 0
    private(set) var wanted = 0
    private(set) var longestNodeQueue = 0
    private(set) var unended = 0
    private var unstarted = 0
    let service: ClosedRange<Int>
    private let base = ContinuousClock.now

    init(
        orchestrators: Int, nodes count: Int, places: Int, service: ClosedRange<Int>,
        patience: ByKind<Duration?> = ByKind(repeating: nil), seed: UInt64
    ) {
        nodes = (0..<count).map { index in
            NodeAnnouncement(
                id: "n\(index)", model: "m", numericsID: "x", queue: "q", contextLength: 1, maximumSequences: places,
                running: 0, waiting: 0, freeBlocks: 0, totalBlocks: 0, tokensPerSecond: nil, startedAt: 0)
        }
        placements = (0..<orchestrators).map { Placement(name: "o\($0)", patience: patience) }
        loads = placements.map { OrchestratorLoad(id: $0.name) }
        random = SeededGenerator(seed: seed)
        self.service = service
        for index in placements.indices {
            placements[index].nodes = nodes
            placements[index].peers = loads.filter { $0.id != placements[index].name }
        }
    }

    private var instant: ContinuousClock.Instant { base + .milliseconds(now) }

    mutating func arrive(_ owner: UserKey, _ kind: Turn.Kind, at orchestrator: Int) -> Int {
        let turn = TurnID(milliseconds: UInt64(now), using: &random)
        runs.append(Run(turn: turn, owner: owner, kind: kind, arrived: now))
        (unstarted, unended) = (unstarted + 1, unended + 1)
        placements[orchestrator].wait(
            .init(
                id: UInt64(runs.count - 1), turn: turn, kind: kind, owner: owner, model: "m", numericsID: nil),
            at: instant)
        admit(orchestrator)
        return runs.count - 1
    }

    private mutating func admit(_ orchestrator: Int) {
        for grant in placements[orchestrator].admit(at: instant) {
            atNodes[grant.node.id, default: []].append(
                Job(run: Int(grant.waiter.id), orchestrator: orchestrator, hold: grant.hold))
        }
    }

    /// One millisecond.
    mutating func tick() {
        now += 1
        for node in nodes {
            var jobs = atNodes[node.id] ?? []
            for job in jobs where job.endsAt == now {
                runs[job.run].ended = now
                unended -= 1
                placements[job.orchestrator].release(job.hold, at: instant)
            }
            let freed = Set(jobs.filter { $0.endsAt == now }.map(\.orchestrator))
            jobs.removeAll { $0.endsAt == now }
            atNodes[node.id] = jobs
            for orchestrator in freed.sorted() { admit(orchestrator) }
        }
        for orchestrator in placements.indices where now % 200 == 37 * orchestrator % 200 {
            placements[orchestrator].age(at: instant)
            loads[orchestrator] = placements[orchestrator].load(firstTokenSeconds: nil, at: instant)
            placements[orchestrator].peers = loads.filter { $0.id != placements[orchestrator].name }
            admit(orchestrator)
        }
        var running = 0
        for node in nodes {
            var jobs = atNodes[node.id] ?? []
            for index in jobs.indices.prefix(node.maximumSequences) where jobs[index].endsAt == nil {
                jobs[index].endsAt = now + Int.random(in: service, using: &random)
                runs[jobs[index].run].started = now
                unstarted -= 1
            }
            running += min(jobs.count, node.maximumSequences)
            longestNodeQueue = max(longestNodeQueue, jobs.count - node.maximumSequences)
            atNodes[node.id] = jobs
        }
        if unstarted > 0 {
            busy += running
            wanted += nodes.count * (nodes.first?.maximumSequences ?? 0)
        }
    }

    mutating func run(until isOver: (PlacementSimulation) -> Bool) {
        while !isOver(self), now < 10_000_000 { tick() }
    }

    var waits: [[TurnID: TurnWait]] { placements.map { $0.waits(firstTokenSeconds: nil, at: instant) } }
    var cluster: ClusterLoad { ClusterLoad(placements.map { $0.load(firstTokenSeconds: nil, at: instant) }) }
}
