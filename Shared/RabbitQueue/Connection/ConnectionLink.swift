import Logging
import ServiceKit
import Synchronization

/// Whether there is a connection, as other threads may ask and wait for.
final class ConnectionLink: Sendable {
    private struct State {
        var isConnected = false
        var isClosing = false
        var lastWaiter: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Bool, Never>] = [:]
        var sleeper: CheckedContinuation<Void, Never>?
    }

    let configuration: RabbitConfiguration
    /// What the connection is for, as the broker's operator sees it.
    let role: String
    let logger: Logger
    private let state = Mutex(State())

    init(configuration: RabbitConfiguration, role: String, logger: Logger) {
        self.configuration = configuration
        self.role = role
        self.logger = logger
    }

    var isConnected: Bool { state.withLock { $0.isConnected } }
    var isClosing: Bool { state.withLock { $0.isClosing } }

    func connected() {
        logger.info("connected to the broker", metadata: ["role": "\(role)"])
        resolveWaiters(connected: true)
    }

    func disconnected() {
        let isClosing = state.withLock { state in
            state.isConnected = false
            return state.isClosing
        }
        if isClosing { resolveWaiters(connected: false) }
    }

    func beginClosing() {
        let sleeper = state.withLock { state in
            state.isClosing = true
            state.isConnected = false
            return state.sleeper.take()
        }
        sleeper?.resume()
    }

    private func resolveWaiters(connected: Bool) {
        let waiters = state.withLock { state in
            state.isConnected = connected
            defer { state.waiters = [:] }
            return state.waiters.values.map { $0 }
        }
        for waiter in waiters { waiter.resume(returning: connected) }
    }

    /// Waits for the connection, at most `timeout` and not after the task was cancelled.
    func waitUntilConnected(timeout: Duration) async -> Bool {
        let id = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        let timer = Task { [weak self] in
            try? await Task.sleep(for: timeout)
            self?.giveUp(id)
        }
        defer { timer.cancel() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if state.isConnected { return true }
                    if state.isClosing || Task.isCancelled { return false }
                    state.waiters[id] = continuation
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            giveUp(id)
        }
    }

    private func giveUp(_ id: UInt64) {
        state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(returning: false)
    }

    /// Pauses between two attempts; `beginClosing` ends it early. On the executor's thread.
    func sleep(_ delay: Duration, on executor: SocketExecutor, isolation: isolated (any Actor)? = #isolation) async {
        var timer: SocketExecutor.TimerID?
        await withCheckedContinuation(isolation: isolation) { continuation in
            let mustSleep = state.withLock { state in
                guard !state.isClosing else { return false }
                state.sleeper = continuation
                return true
            }
            guard mustSleep else { return continuation.resume() }
            timer = executor.schedule(after: delay) { [weak self] in
                self?.state.withLock { $0.sleeper.take() }?.resume()
            }
        }
        if let timer { executor.cancel(timer) }
    }
}
