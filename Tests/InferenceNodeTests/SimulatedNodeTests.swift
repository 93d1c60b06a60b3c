import LlamaEngine
import Synchronization
import Testing

@testable import inference_node

@Suite(.timeLimit(.minutes(1))) struct SimulatedNodeTests {
    private final class Events: Sendable {
        let all = Mutex<[TokenEvent]>([])

        func ends(_ request: UInt64) -> [FinishReason] {
            all.withLock { $0.filter { $0.request == request }.compactMap(\.finish) }
        }
    }

    private func request(_ id: UInt64, tokens: Int, _ priority: RequestPriority = .chat) -> GenerationRequest {
        GenerationRequest(id: id, prompt: [1], maxTokens: tokens, priority: priority)
    }

    private func node(_ events: Events, places: Int, latency: Double) throws -> SimulatedNode {
        var configuration = SimulatedEngine.Configuration()
        (configuration.timeToFirstToken, configuration.interTokenLatency) = (0, latency)
        return try SimulatedNode(configuration: configuration, places: places) { new in
            events.all.withLock { $0 += new }
        }
    }

    private func eventually(_ condition: () -> Bool) async throws {
        while !condition() { try await Task.sleep(for: .milliseconds(5)) }
    }

    @Test func whatIsBeyondThePlacesWaitsAndTheMostUrgentGoesFirst() async throws {
        let events = Events()
        let node = try node(events, places: 1, latency: 10)
        try node.submit(request(1, tokens: 10))
        try node.submit(request(2, tokens: 1, .batch))
        try node.submit(request(3, tokens: 1, .chat))
        try node.submit(request(4, tokens: 1, .stream))
        try node.submit(request(5, tokens: 1, .chat))
        #expect(throws: EngineError.self) { try node.submit(request(6, tokens: 1)) }
        try await eventually { events.ends(2) == [.length] }
        let order = events.all.withLock { $0.filter { $0.finish != nil }.map(\.request) }
        #expect(order == [1, 4, 3, 5, 2])
        await node.shutdown()
    }

    @Test func whoWaitsCanBeCancelledAndIsInterruptedAtTheEnd() async throws {
        let events = Events()
        let node = try node(events, places: 1, latency: 60_000)
        for id in 1...3 as ClosedRange<UInt64> { try node.submit(request(id, tokens: 9)) }
        node.cancel(2)
        #expect(events.ends(2) == [.cancelled])
        await node.shutdown()
        #expect(events.ends(1) == [.interrupted] && events.ends(3) == [.interrupted])
    }
}
