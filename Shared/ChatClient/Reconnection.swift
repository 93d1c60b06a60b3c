import ServiceKit

/// Where and when a client connects next. Pure: time and randomness come from outside.
public struct Reconnection: Sendable {
    public struct Policy: Sendable {
        /// Pauses once every gateway has failed: exponential from `base` to `cap`.
        public var base: Duration = .milliseconds(100)
        public var cap: Duration = .seconds(5)
        /// The pause before a gateway that has not failed yet is uniform in 0...spread: the clients of a gateway that
        /// died do not all come in the same instant.
        public var spread: Duration = .milliseconds(100)
        /// Time without any sign of life after which the client gives up.
        public var patience: Duration = .seconds(120)
        /// Connections in a row, without a token in between, on which a server says what is not the protocol: a log that is
        /// wrong is as wrong at the next connection.
        public var malformedConnections = 5
        /// The longest pause that a server may ask for.
        public var longestHint: Duration = .seconds(30)

        public init() {}
    }

    public enum Decision: Sendable, Equatable {
        case connect(gateway: Int, after: Duration)
        case giveUp
    }

    public private(set) var gateway: Int
    private let gateways: Int
    private let policy: Policy
    private var backoff: Backoff
    private var failures = 0
    private var malformed = 0
    private var hint: Duration?
    private var lastHeard: Duration

    /// - Parameter now: time since any fixed moment; the same clock for all calls.
    public init(gateways: Int, first: Int, policy: Policy, now: Duration) {
        self.gateways = max(1, gateways)
        self.gateway = first % max(1, gateways)
        self.policy = policy
        backoff = Backoff(base: policy.base, cap: policy.cap)
        lastHeard = now
    }

    /// Some byte came: the server lives. It does not forgive failures: a gateway that greets and hangs up, again and
    /// again, is met with longer and longer pauses.
    public mutating func heard(at now: Duration) { lastHeard = now }

    /// The turn got further.
    public mutating func progressed(at now: Duration) {
        lastHeard = now
        failures = 0
        malformed = 0
        backoff.reset()
    }

    /// The server said `retry:`. It has spread its clients already, so its word goes unchanged into the next pause.
    public mutating func take(hint: Duration) { self.hint = min(max(hint, .zero), policy.longestHint) }

    /// The connection ended before the turn did, or there was none.
    public mutating func lost(
        _ loss: Loss, at now: Duration, using random: inout some RandomNumberGenerator
    ) -> Decision {
        if loss.isMalformed { malformed += 1 }
        guard now - lastHeard < policy.patience, malformed < policy.malformedConnections else { return .giveUp }
        failures += 1
        gateway = (gateway + 1) % gateways
        let pause: Duration
        if let hint {
            pause = hint
        } else if failures < gateways {
            pause = .milliseconds(Double.random(in: 0...1, using: &random) * (policy.spread / .milliseconds(1)))
        } else {
            pause = max(backoff.next(using: &random), min(loss.retryAfter ?? .zero, policy.longestHint))
        }
        hint = nil
        return .connect(gateway: gateway, after: pause)
    }
}
