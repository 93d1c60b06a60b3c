import Logging
import ServiceKit
import ServiceLifecycle

/// What publisher, consumer and inspector have in common: an actor on a thread of its own that keeps one connection.
protocol ConnectionOwner: Actor {
    nonisolated var executor: SocketExecutor { get }
    nonisolated var link: ConnectionLink { get }
    /// The connection while it is usable, set and reset by `keepConnected`.
    var connection: Connection? { get set }

    /// Declares, selects confirms, consumes: whatever must be done before the connection counts as connected.
    func setUp(_ connection: Connection) async throws(RabbitError)
    func receive(_ event: Connection.Event)
    /// The connection is gone; `error` says why.
    func tearDown(_ error: RabbitError)
}

extension ConnectionOwner {
    /// Keeps the connection until the task is cancelled, or gracefully shut down: then `leave` is called, which ends with
    /// `close`.
    nonisolated func run(leavingBy leave: @escaping @Sendable (Self) async -> Void) async {
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                await keepConnected()
            } onGracefulShutdown: {
                Task { await leave(self) }
            }
        } onCancel: {
            Task { await close() }
        }
    }

    /// Connects, and connects again with backoff whenever the connection ends, until `close` was called.
    private func keepConnected() async {
        var backoff = Backoff()
        while !link.isClosing {
            guard !link.isPaused else {
                await link.sleep(nil, on: executor)
                continue
            }
            let began = ContinuousClock.now
            let reason: RabbitError
            do throws(RabbitError) {
                let connection = try await Connection.open(
                    link.configuration, role: link.role, executor: executor, logger: link.logger
                ) { [weak self] event in
                    self?.assumeIsolated { $0.dispatch(event) }
                }
                // Set before the set-up: its calls suspend, and deliveries may come with the consumer's first answer.
                self.connection = connection
                // It may have ended between its opening and this.
                if let failure = connection.failure {
                    self.connection = nil
                    throw failure
                }
                do throws(RabbitError) {
                    try await setUp(connection)
                } catch {
                    connection.end(error)
                    throw error
                }
                if link.isClosing || link.isPaused { await connection.close() } else { link.connected() }
                reason = await connection.ended()
            } catch {
                reason = error
            }
            guard !link.isClosing else { break }
            guard !link.isPaused else { continue }
            link.failed(reason)
            let delay = backoff.next(afterLifeOf: .now - began)
            link.logger.warning(
                "no connection to the broker: will try again",
                metadata: ["error": "\(reason)", "delay": "\(delay)", "role": "\(link.role)"])
            await link.sleep(delay, on: executor)
        }
        link.disconnected()
    }

    private func dispatch(_ event: Connection.Event) {
        guard case .ended(let reason) = event else { return receive(event) }
        // At once, not when the loop above runs on: from here on no delivery is live.
        connection = nil
        link.disconnected()
        tearDown(reason)
    }

    /// Ends `keepConnected`, after what was sent has reached the broker.
    func close() async {
        link.beginClosing()
        await connection?.close()
    }
}
