import ChatCore
import Foundation
import Logging
import RedisStore
import ServiceKit
import Synchronization
import Testing

@testable import orchestrator

/// Orders to nodes to let go of jobs.
@Suite(.timeLimit(.minutes(1))) struct CancelOrdersTests {
    private let control = NodeControl(cancel: Turn.sample(number: 1, run: 1).id, epoch: 7, attempt: 2)

    private func orders(_ log: Sent) -> CancelOrders {
        CancelOrders(
            pause: Backoff(base: .milliseconds(1), cap: .milliseconds(2)),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { try log.send($0, $1) }
    }

    @Test func anOrderIsRepeatedUntilItsNodeHearsIt() async throws {
        let sent = Sent([.failure, .failure, .unheard, .failure, .unheard])
        await orders(sent).cancel(control, at: "n1", left: .seconds(60))
        try await sent.wait(for: 6)
        #expect(sent.isOver)
        for (node, payload) in sent.all {
            #expect(node == "n1")
            let order = try JSONDecoder().decode(NodeControl.self, from: Data(payload))
            #expect(order.cancel == control.cancel && order.epoch == 7 && order.attempt == 2)
        }
    }

    @Test func anOrderThatIsHeardIsSentOnce() async throws {
        let sent = Sent([])
        await orders(sent).cancel(control, at: "n1", left: .seconds(60))
        #expect(sent.all.count == 1)
    }

    @Test func aNodeThatIsGoneAndAJobThatIsOverEndIt() async throws {
        let gone = Sent(Array(repeating: .unheard, count: 1000))
        await orders(gone).cancel(control, at: "n1", left: .seconds(60))
        try await gone.wait(for: CancelOrders.unheard)
        let over = Sent(Array(repeating: .failure, count: 1000))
        await orders(over).cancel(control, at: "n1", left: .zero)
        #expect(over.all.count == 1)
        // A further order's repetitions are later than any of the first.
        let last = Sent(Array(repeating: .unheard, count: 30))
        await orders(last).cancel(control, at: "n1", left: .seconds(60))
        try await last.wait(for: CancelOrders.unheard)
        #expect(gone.all.count == CancelOrders.unheard)
    }
}

/// What a model Redis makes of orders.
private final class Sent: Sendable {
    enum Outcome { case failure, unheard }

    private let state: Mutex<(script: [Outcome], sent: [(String, [UInt8])])>

    init(_ script: [Outcome]) { state = Mutex((script, [])) }

    var all: [(String, [UInt8])] { state.withLock { $0.sent } }
    var isOver: Bool { state.withLock { $0.script.isEmpty } }

    func send(_ node: String, _ payload: [UInt8]) throws -> Int64 {
        let outcome = state.withLock { state -> Outcome? in
            state.sent.append((node, payload))
            return state.script.isEmpty ? nil : state.script.removeFirst()
        }
        switch outcome {
        case .failure: throw RedisError.timedOut
        case .unheard: return 0
        case nil: return 1
        }
    }

    func wait(for count: Int) async throws {
        while all.count < count { try await Task.sleep(for: .milliseconds(1)) }
    }
}
