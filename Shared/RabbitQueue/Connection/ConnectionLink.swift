import Logging
import Metrics
import ServiceKit
import Synchronization

/// The connection of a publisher, consumer or inspector, as any thread may ask about it and wait for it.
public final class ConnectionLink: Sendable {
    private struct State {
        var isConnected = false
        var isClosing = false
        var isPaused = false
        var isBlocked = false
        var lastFailure: RabbitError?
        var lastWaiter: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Bool, Never>] = [:]
        var sleeper: CheckedContinuation<Void, Never>?
    }

    let configuration: RabbitConfiguration
    /// What the connection is for, as the broker's operator sees it.
    let role: String
    let logger: Logger
    private let breaker: DependencyBreaker?
    private let connects: Counter
    private let state = Mutex(State())

    /// - Parameter breaker: is told when a connection stands, and when one ends or cannot be had.
    init(configuration: RabbitConfiguration, role: String, breaker: DependencyBreaker? = nil, logger: Logger) {
        self.configuration = configuration
        self.role = role
        self.breaker = breaker
        self.logger = logger
        connects = Measures.brokerConnects(role)
    }

    /// Whether the connection stands and everything is declared.
    public var isConnected: Bool { state.withLock { $0.isConnected } }

    /// Why there is no connection: `.server` with 403 for wrong credentials, with 406 for a queue that exists
    /// otherwise, ... Nil while connected and before the first attempt has failed.
    public var lastFailure: RabbitError? { state.withLock { $0.lastFailure } }

    /// Whether the broker reads no publishes of this connection: it is short of memory or disk.
    public var isBlocked: Bool { state.withLock { $0.isBlocked } }

    func blocked(_ isBlocked: Bool) { state.withLock { $0.isBlocked = isBlocked } }

    var isClosing: Bool { state.withLock { $0.isClosing } }
    /// Whether there is to be no connection for now.
    var isPaused: Bool { state.withLock { $0.isPaused } }

    func failed(_ reason: RabbitError) {
        state.withLock { $0.lastFailure = reason }
        // Without a connection callers may not even try, and whatever the reason, none would succeed. A permit is refused
        // when the breaker knows already.
        guard let breaker, let permit = try? breaker.admit() else { return }
        breaker.settle(permit, .failure, reason: reason.description)
    }

    func connected() {
        state.withLock { $0.lastFailure = nil }
        connects.increment()
        breaker?.reconnected()
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

    func pause() { state.withLock { $0.isPaused = true } }

    func resume() {
        let sleeper = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.isPaused else { return nil }
            state.isPaused = false
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
    public func waitUntilConnected(timeout: Duration) async -> Bool {
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

    /// Waits before the next attempt; `beginClosing` and `resume` end it early. On the executor's thread.
    /// - Parameter delay: nil waits for one of these two.
    func sleep(_ delay: Duration?, on executor: SocketExecutor, isolation: isolated (any Actor)? = #isolation) async {
        var timer: SocketExecutor.TimerID?
        await withCheckedContinuation(isolation: isolation) { continuation in
            let mustSleep = state.withLock { state in
                guard !state.isClosing, delay != nil || state.isPaused else { return false }
                state.sleeper = continuation
                return true
            }
            guard mustSleep else { return continuation.resume() }
            guard let delay else { return }
            timer = executor.schedule(after: delay) { [weak self] in
                self?.state.withLock { $0.sleeper.take() }?.resume()
            }
        }
        if let timer { executor.cancel(timer) }
    }
}
