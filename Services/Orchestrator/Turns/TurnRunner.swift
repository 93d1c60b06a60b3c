import ChatCore
import Foundation
import Logging
import ModelFile
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

/// Takes one turn from its delivery to its end: lease, order, plan, generate, end, acknowledge.
///
/// Whatever goes wrong, one of three things happens: the turn goes on here; it ends, with a reason; or its delivery is
/// left unacknowledged, and another orchestrator goes on from the log.
struct TurnRunner {
    /// Attempts that began and brought no token, after which the turn is given up as one that kills its nodes.
    static let fruitlessAttempts = 5

    /// How a turn came to its end.
    struct Ending: Equatable {
        let status: TurnOutcome.Status
        let reason: TurnOutcome.FinishReason
        var error: String?

        static func failed(_ error: String) -> Ending { Ending(status: .failed, reason: .error, error: error) }
        static let cancelled = Ending(status: .cancelled, reason: .cancelled)
        static let expired = failed("the turn's deadline has passed")
    }

    /// How long a node that has begun may say nothing before its job is ordered anew. An item can be lost between node
    /// and orchestrator, and a lost last one leaves no gap to see.
    static let silence: Duration = .seconds(20)

    let services: TurnServices
    let turn: Turn
    let delivery: Delivery
    let mailbox: Mailbox<TurnNews>
    var logger: Logger

    var patience: Patience { TurnRunner.patience(delivery, logger) }

    var lease: TurnLog.Lease
    var transcript: Transcript
    var plan: TurnPlan?
    var recorded: [UInt8]?
    var cancelRequested: Bool
    var attempts: Int
    /// The epoch under which the node's present job was ordered; its items carry it.
    var jobEpoch: Int64
    var firstTokenAt: Int64?
    var engineFirstToken: Double?

    /// Runs the turn of a delivery to its end.
    /// - Throws: `CancellationError` when this process drains, `Abandoned` when the turn is another's; the delivery is
    ///   then unacknowledged.
    static func run(_ delivery: Delivery, turn: Turn, services: TurnServices, logger: Logger) async throws {
        var redelivered = delivery.redelivered
        while true {
            do {
                try await hold(delivery, turn, redelivered: redelivered, services, logger)
                return try await delivery.acknowledge()
            } catch is Abandoned {
                // While the delivery lives nobody else will get it: look again who has the turn, without taking it by
                // force. A log that Redis lost is made anew, a turn that another holds is waited for.
                guard delivery.isLive else { throw Abandoned.fenced }
                redelivered = false
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    static func hold(
        _ delivery: Delivery, _ turn: Turn, redelivered: Bool, _ services: TurnServices, _ logger: Logger
    ) async throws {
        switch try await acquire(delivery, turn, redelivered: redelivered, services, logger) {
        case .acquired(let lease, let progress):
            let mailbox = services.mail.open(turn.id)
            defer { services.mail.close(turn.id, mailbox) }
            var runner = TurnRunner(services, turn, delivery, mailbox, lease, progress, logger)
            try await runner.runToEnd()
        case .held:
            // A duplicate publish: whoever holds the turn answers for it. This message goes when the turn has ended.
            try await waitForEnd(of: turn, services, delivery, logger)
        case .ended, .unknown:
            // Its last holder may have died before it tidied up.
            try await patience(delivery, logger)() { try await services.ending.tidyUp(turn) }
        }
    }

    static func acquire(
        _ delivery: Delivery, _ turn: Turn, redelivered: Bool, _ services: TurnServices, _ logger: Logger
    ) async throws -> TurnLog.Acquisition {
        func acquire(byForce: Bool) async throws -> TurnLog.Acquisition {
            try await patience(delivery, logger)() {
                try await services.log.acquire(turn, owner: services.name, redelivered: byForce)
            }
        }
        let acquisition = try await acquire(byForce: redelivered)
        // Held by this process, which does not work on it: an acquisition of ours whose reply was lost.
        if case .held(services.name) = acquisition, !services.mail.holds(turn.id) {
            return try await acquire(byForce: true)
        }
        return acquisition
    }

    private init(
        _ services: TurnServices, _ turn: Turn, _ delivery: Delivery, _ mailbox: Mailbox<TurnNews>,
        _ lease: TurnLog.Lease, _ progress: TurnLog.Progress, _ logger: Logger
    ) {
        self.services = services
        self.turn = turn
        self.delivery = delivery
        self.mailbox = mailbox
        self.lease = lease
        self.logger = logger
        transcript = Transcript(
            tokenizer: services.planner.tokenizer, stop: turn.sampling.stop, logged: progress.tokens)
        plan = progress.plan.flatMap { try? TurnPlan(decoding: $0) }
        recorded = progress.outcome
        cancelRequested = progress.cancelRequested
        attempts = progress.attempts.total
        jobEpoch = lease.epoch
        if !progress.tokens.isEmpty {
            logger.notice("a turn goes on", metadata: ["from": "\(progress.tokens.count)", "epoch": "\(lease.epoch)"])
        }
    }

    mutating func runToEnd() async throws {
        let ending: Ending
        do {
            // An outcome that an earlier holder recorded stands, whatever this one would do.
            ending = recorded == nil ? try await generateWhole() : .cancelled
        } catch is CancellationError {
            await letGo()
            throw CancellationError()
        }
        try await end(ending)
    }

    /// Drain: the next holder acquires at once.
    func letGo() async {
        let log = services.log
        let lease = lease
        // In a task of its own: this one is cancelled, and its calls would not wait for their replies.
        await Task { _ = try? await log.release(lease) }.value
    }
}
