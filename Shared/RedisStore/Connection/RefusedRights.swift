import Logging
import ServiceKit
import Synchronization

/// Remembers that the server refused this process' credentials, or a command to its user.
final class RefusedRights: Sendable {
    /// Refused steps are repeated about once a second: after this time without a refusal the rights are there again.
    private static let lifetime: Duration = .seconds(10)

    private let last = Mutex<(reason: String, at: ContinuousClock.Instant)?>(nil)

    func note(_ reason: String, at now: ContinuousClock.Instant) {
        last.withLock { $0 = (String(reason.prefix(200)), now) }
    }

    func reason(at now: ContinuousClock.Instant) -> String? {
        last.withLock { last in
            if let since = last?.at, since + Self.lifetime < now { last = nil }
            return last?.reason
        }
    }
}

/// Says in the log, at most once a second, that the server answered what no table knows.
final class UnknownReplies: Sendable {
    private let logger: Logger
    private let lines = Throttle(.seconds(1))

    init(logger: Logger) { self.logger = logger }

    func note(_ text: String) {
        guard lines.take() else { return }
        logger.error(
            "Redis answered with an error that is not known; it counts as an outage",
            metadata: ["reply": "\(text.prefix(200))"])
    }
}
