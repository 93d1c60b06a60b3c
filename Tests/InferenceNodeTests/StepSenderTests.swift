import ChatCore
import LlamaEngine
import Synchronization
import Testing

@testable import inference_node

@Suite(.timeLimit(.minutes(1))) struct StepSenderTests {
    /// A node without broker and Redis: its writes wait until they are let through.
    private final class Node: Sendable {
        let table = Mutex(JobTable(capacity: 64))
        let outbox = StepOutbox()
        let steps = Atomic(0)
        let engineEnds = Atomic(0)
        let sent = Mutex<[TokenBatch.Item]>([])
        let isOpen = Atomic(false)

        func sender() -> StepSender {
            StepSender(outbox: outbox) { pending in
                self.table.withLock { ($0.batches(of: pending, node: "n", at: .now), $0.count) }
            } write: { batch, _ in
                while !self.isOpen.load(ordering: .acquiring), !Task.isCancelled { await Task.yield() }
                self.sent.withLock { $0 += batch.items }
            }
        }

        func take(_ events: [TokenEvent]) {
            steps.add(1, ordering: .relaxed)
            engineEnds.add(events.count { $0.finish != nil }, ordering: .releasing)
            outbox.add(events)
        }
    }

    private func job(_ number: UInt64, tokens: Int) -> GenerationJob {
        var random = SystemRandomNumberGenerator()
        return GenerationJob(
            turn: TurnID(milliseconds: number, using: &random), epoch: 1, attempt: 1, orchestrator: "o", tenant: nil,
            prompt: [1], outputSoFar: [], sampling: .init(maxTokens: tokens, seed: number), kind: .stream,
            deadline: .max)
    }

    private func eventually(_ condition: () -> Bool) async throws {
        while !condition() { try await Task.sleep(for: .milliseconds(5)) }
    }

    /// 64 turns at 1 ms, each step an event of its own: many thousands of steps while nothing can be sent.
    @Test func noEndIsLostHoweverLongTheSenderIsHeldUp() async throws {
        let node = Node()
        var configuration = SimulatedEngine.Configuration()
        (configuration.timeToFirstToken, configuration.interTokenLatency) = (0, 1)
        let engine = try SimulatedNode(configuration: configuration, places: 64) { events in
            // As if no two turns shared a step.
            for event in events { node.take([event]) }
        }
        let jobs = (0..<64).map { job(UInt64($0), tokens: 150) }
        for job in jobs {
            guard case .run(let request, _) = node.table.withLock({ $0.admit(job, at: .now) }) else {
                Issue.record("not admitted")
                continue
            }
            try engine.submit(GenerationRequest(request: request, job: job))
        }
        let sender = Task { await node.sender().run() }
        try await eventually { node.engineEnds.load(ordering: .acquiring) == 64 }
        #expect(node.steps.load(ordering: .relaxed) > 4096)
        // The engine is through with them: it has no work, though nobody has been told.
        #expect(node.table.withLock { $0.count } - node.outbox.ends <= 0)
        node.isOpen.store(true, ordering: .releasing)
        try await eventually { node.sent.withLock { $0.count { $0.end != nil } } == 64 }
        #expect(node.table.withLock { $0.count } == 0)
        for job in jobs {
            let items = node.sent.withLock { $0.filter { $0.turn == job.turn } }
            var next = 0
            for item in items {
                #expect(item.first == next)
                next += item.tokens.count
            }
            #expect(next == 150)
            #expect(items.last?.end == TokenBatch.End(.length))
        }
        await engine.shutdown()
        node.outbox.close()
        await sender.value
    }

    @Test func tokensBeyondTheBoundLeaveAGapAndTheEndStays() {
        var pending = PendingTokens()
        pending.add((0..<6).map { TokenEvent(request: 1, index: $0, token: 7) }, maximumTokens: 4)
        pending.add([TokenEvent(request: 1, index: 6, token: 8, finish: .stop)], maximumTokens: 4)
        #expect(pending.entries.count == 1)
        // Whatever is left begins after the gap, and says how the turn ended.
        #expect(pending.entries[0].entry.first.map { $0 > 0 } == true)
        #expect(pending.entries[0].entry.tokens.count <= 4)
        #expect(pending.entries[0].entry.first.map { $0 + pending.entries[0].entry.tokens.count } == 7)
        #expect(pending.entries[0].entry.end == TokenBatch.End(.stop))
        #expect(pending.ends == 1)
    }

    @Test func anEndWithoutATokenComesAfterTheTokensBeforeIt() {
        var pending = PendingTokens()
        pending.add([
            TokenEvent(request: 1, index: 3, token: 7),
            TokenEvent(request: 1, index: 4, token: TokenEvent.none, finish: .cancelled),
            TokenEvent(request: 2, index: 5, token: TokenEvent.none, finish: .failed, reason: "r"),
        ])
        #expect(pending.entries.map(\.entry.first) == [3, 5])
        #expect(pending.entries.map(\.entry.tokens) == [[7], []])
        #expect(pending.entries.map(\.entry.end) == [.init(.cancelled), .init(.failed, reason: "r")])
    }

    @Test func repliesAreBounded() {
        var pending = PendingTokens()
        let item = TokenBatch.Item(
            turn: job(1, tokens: 1).turn, epoch: 1, attempt: 1, first: 0, tokens: [], end: .init(.unavailable),
            timeToFirstToken: nil)
        let taken = (0...PendingTokens.maximumReplies).count { _ in
            pending.add(PendingTokens.Reply(orchestrator: "o", item: item))
        }
        #expect(taken == PendingTokens.maximumReplies)
    }
}
