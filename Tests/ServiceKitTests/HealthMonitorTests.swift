import Logging
import ServiceKit
import Synchronization
import Testing

@Suite struct HealthMonitorTests {
    /// A component whose question cannot be cancelled, as one to a server that hangs.
    private final class Hanging: Sendable {
        private let state = Mutex((hangs: false, asked: 0, waiting: [CheckedContinuation<Void, Never>]()))
        var asked: Int { state.withLock { $0.asked } }

        func probe() async -> Bool {
            await withCheckedContinuation { continuation in
                let hangs = state.withLock { state in
                    state.asked += 1
                    if state.hangs { state.waiting.append(continuation) }
                    return state.hangs
                }
                if !hangs { continuation.resume() }
            }
            return true
        }

        func hang(_ hangs: Bool) {
            let waiting = state.withLock { state in
                state.hangs = hangs
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume() }
        }
    }

    private func eventually(_ what: Comment, _ condition: () -> Bool) async throws {
        for _ in 0..<12_000 {
            if condition() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record(what)
    }

    @Test func whatCannotBeFoundOutIsNeitherUpNorDown() async throws {
        let sees = Mutex(true)
        let monitor = HealthMonitor(
            components: [
                .init("hidden") {
                    guard sees.withLock({ $0 }) else { throw HealthMonitor.Unknown() }
                    return true
                }
            ],
            interval: .milliseconds(1), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        // Not asked yet.
        #expect(monitor.snapshot.map(\.state) == [.down])
        let run = Task { try await monitor.run() }
        try await eventually("up") { monitor.snapshot.first?.state == .up }
        sees.withLock { $0 = false }
        try await eventually("unknown") { monitor.snapshot.first?.state == .unknown }
        sees.withLock { $0 = true }
        try await eventually("up again") { monitor.snapshot.first?.state == .up }
        run.cancel()
        try await run.value
    }

    @Test func whatHangsIsDownThoughItsQuestionCannotBeCancelled() async throws {
        let component = Hanging()
        let other = Hanging()
        let monitor = HealthMonitor(
            components: [.init("broker") { await component.probe() }, .init("other") { await other.probe() }],
            interval: .milliseconds(1),
            patience: .milliseconds(50), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let run = Task { try await monitor.run() }
        try await eventually("up") { monitor.snapshot.first?.state == .up }
        component.hang(true)
        try await eventually("down") { monitor.snapshot.first?.state == .down }
        // One question is open, not one more with each look, while another component is asked again and again.
        let asked = (component.asked, other.asked)
        try await eventually("the other is asked") { other.asked > asked.1 + 100 }
        #expect(component.asked == asked.0)
        #expect(monitor.snapshot.map(\.state) == [.down, .up])
        component.hang(false)
        try await eventually("up again") { monitor.snapshot.first?.state == .up }
        run.cancel()
        try await run.value
    }
}
