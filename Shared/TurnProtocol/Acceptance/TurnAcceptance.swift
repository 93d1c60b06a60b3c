import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit

/// Makes a frozen turn durable: its Idempotency-Key, its places in Redis, then its message. A turn that this returns for
/// survives the death of any process.
public struct TurnAcceptance: Sendable {
    public let keys: IdempotencyKeys
    public let outstanding: OutstandingTurns
    public let log: TurnLog
    public let order: ConversationOrder
    public let publisher: RabbitPublisher
    let logger: Logger
    private let pool: WorkPool

    /// Publishes are repeated under the same id when their fate is unclear; the lease makes a double harmless.
    private static let publishAttempts = 4

    public init(
        keys: IdempotencyKeys, outstanding: OutstandingTurns, log: TurnLog, order: ConversationOrder,
        publisher: RabbitPublisher, logger: Logger, pool: WorkPool = .shared
    ) {
        self.keys = keys
        self.outstanding = outstanding
        self.log = log
        self.order = order
        self.publisher = publisher
        self.logger = logger
        self.pool = pool
    }

    /// Takes the turn's key, reserves its places, publishes it. To be repeated with the same turn when it was not
    /// confirmed. It is not cut short by the caller's cancellation: half an acceptance would block its conversation and
    /// count against its user.
    /// - Parameters:
    ///   - limits: unfinished turns that the user and the tenant may have.
    ///   - now: Unix milliseconds of the Redis clock.
    ///   - lapsed: a turn that the Idempotency-Key may be taken from.
    public func accept(
        _ turn: Turn, limits: OutstandingTurns.Limits, now: Int64, insteadOf lapsed: TurnID? = nil
    ) async throws(AcceptanceError) {
        let acceptance = Task { () -> AcceptanceError? in
            do throws(AcceptanceError) {
                try await acceptToEnd(turn, limits, now, lapsed)
                return nil
            } catch {
                return error
            }
        }
        if let error = await acceptance.value { throw error }
    }

    private func acceptToEnd(
        _ turn: Turn, _ limits: OutstandingTurns.Limits, _ now: Int64, _ lapsed: TurnID?
    ) async throws(AcceptanceError) {
        var message = try await encode(turn)
        let attempt = try await takeKey(of: turn, message.body, lapsed)
        do throws(AcceptanceError) {
            // The message knows its place, and what it comes after: Redis may forget both before it is taken.
            message.write(try await reserve(turn, message.body.count, limits))
            try await publish(OutgoingMessage(turn: turn, body: message.body, now: now))
        } catch {
            // A turn that may be queued keeps its places: if it is, it runs and ends; its id was never given out.
            if case .unconfirmed = error {} else { await withdraw(turn, attempt: attempt) }
            throw error
        }
        do throws(RedisError) {
            try await keys.confirm(turn)
        } catch {
            // A repeat publishes the turn once more; the lease makes that harmless.
            logger.about(turn.id, in: turn.trace).warning(
                "an accepted turn's key was not confirmed", metadata: ["error": "\(error)"])
        }
    }

    private func encode(_ turn: Turn) async throws(AcceptanceError) -> TurnMessage {
        do {
            return try await TurnMessage(turn, on: pool)
        } catch {
            throw error is WorkPool.Full ? .busy : .unwritable
        }
    }

    private func takeKey(of turn: Turn, _ body: [UInt8], _ lapsed: TurnID?) async throws(AcceptanceError) -> Int {
        let taking: IdempotencyKeys.Taking
        do throws(RedisError) {
            taking = try await keys.take(turn, body: body, insteadOf: lapsed)
        } catch {
            throw .store(error)
        }
        switch taking {
        case .taken(let attempt): return attempt
        case .standsFor(let claim): throw .keyTaken(claim)
        }
    }

    /// - Returns: the turn's place in its conversation.
    private func reserve(
        _ turn: Turn, _ bytes: Int, _ limits: OutstandingTurns.Limits
    ) async throws(AcceptanceError) -> ConversationOrder.Place {
        let passed: OutstandingTurns.Limit?
        let place: ConversationOrder.Place?
        do throws(RedisError) {
            // What a refusal leaves behind is withdrawn.
            (passed, place) = try await log.reserve(turn, bytes: bytes, among: outstanding, limits: limits, in: order)
        } catch {
            throw .store(error)
        }
        if let passed { throw .tooManyUnfinished(passed) }
        guard let place else { throw .conversationTaken }
        return place
    }

    private func publish(_ message: OutgoingMessage) async throws(AcceptanceError) {
        var backoff = Backoff(base: .milliseconds(50), cap: .milliseconds(500))
        var mayBeQueued = false
        var last = RabbitError.unavailable
        for _ in 0..<TurnAcceptance.publishAttempts {
            do throws(RabbitError) {
                return try await publisher.publish(message)
            } catch {
                last = error
                mayBeQueued = mayBeQueued || error.outcomeIsUnknown
                logger.warning("a turn was not confirmed", metadata: ["turn": "\(message.id)", "error": "\(error)"])
                // A fresh channel's first publish is sometimes refused by a queue that is not full: once more tells.
                // Nobody waits for an alarm's end.
                if case .blocked = error { break }
                guard mayBeQueued || error == .rejected(queue: message.queue) else { break }
                try? await Task.sleep(for: backoff.next())
            }
        }
        throw mayBeQueued ? .unconfirmed(last) : .refused(last)
    }
}
