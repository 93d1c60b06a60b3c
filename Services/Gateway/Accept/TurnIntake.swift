import ChatCore
import Foundation
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit

/// What a turn is measured by before it is accepted.
struct IntakeLimits: Sendable {
    let model: String
    let defaultMaxTokens: Int
    let requestsPerMinute: [Turn.Kind: Int]
    let outstandingPerUser: Int
    let deadline: Duration
    let batchDeadline: Duration

    func deadline(of kind: Turn.Kind) -> Duration { kind == .batch ? batchDeadline : deadline }
}

/// Accepts turns: limits, freezes everything that changes tokens, reserves the id, publishes durably. What it returns
/// survives the death of any process.
struct TurnIntake: Sendable {
    let limits: IntakeLimits
    let limiter: RateLimiter
    let outstanding: OutstandingTurns
    let log: TurnLog
    let order: ConversationOrder
    let contexts: ContextCache
    let conversations: ConversationRepository
    let clock: RedisClock
    let publisher: RabbitPublisher
    let logger: Logger

    /// Publishes are repeated under the same id when their fate is unclear; the lease makes a double harmless.
    private static let publishAttempts = 4

    func accept(_ request: TurnRequest, kind: Turn.Kind, from principal: Principal) async throws(APIError) -> Turn {
        let owner = UserKey(tenant: principal.tenant, user: request.userID.text)
        if let model = request.model, model != limits.model {
            throw .invalid("model", "names no model of this server; it has \(limits.model)")
        }
        try await limitRate(kind, owner: owner, key: principal.keyID)
        let continued = try await existing(request.conversationID, of: owner)
        let turn = try await freeze(request, kind: kind, owner: owner, continues: continued)
        // Not cut short by a client that leaves: half an acceptance would block its conversation and count against its user.
        let acceptance = Task { () -> APIError? in
            do throws(APIError) {
                try await reserve(turn)
                try await publish(turn)
                return nil
            } catch {
                return error
            }
        }
        if let error = await acceptance.value { throw error }
        return turn
    }

    private func limitRate(_ kind: Turn.Kind, owner: UserKey, key: String) async throws(APIError) {
        guard let limit = limits.requestsPerMinute[kind], limit > 0 else { return }
        let decision: RateLimiter.Decision
        do throws(RedisError) {
            decision = try await limiter.take("\(kind.rawValue):\(key):\(owner.ringKey)", limit: limit)
        } catch {
            throw .unavailable("Redis")
        }
        if case .refused(let wait) = decision {
            throw .tooManyRequests("at most \(limit) requests a minute for each key and user", retryAfter: wait)
        }
    }

    /// The conversation that the client names, if it is the user's: warm in Redis, unfinished, or in the shard.
    private func existing(_ number: Int64?, of owner: UserKey) async throws(APIError) -> ConversationKey? {
        guard let number, let id = ConversationID(number) else { return nil }
        let key = ConversationKey(owner: owner, id: id)
        let isThere: Bool
        do {
            isThere =
                if try await contexts.exists(key) { true } else if try await order.exists(key) { true } else {
                    try await conversations.exists(key)
                }
        } catch {
            logger.warning("a conversation could not be looked up", metadata: ["error": "\(error)"])
            throw .unavailable("the conversation's store")
        }
        guard isThere else { throw .unknownConversation }
        return key
    }

    private func freeze(
        _ request: TurnRequest, kind: Turn.Kind, owner: UserKey, continues: ConversationKey?
    ) async throws(APIError) -> Turn {
        let now: Int64
        do throws(RedisError) { now = try await clock.now() } catch { throw .unavailable("Redis") }
        var random = SystemRandomNumberGenerator()
        let id = TurnID(milliseconds: UInt64(clamping: now), using: &random)
        let deadline = now + Int64(limits.deadline(of: kind) / .milliseconds(1))
        return Turn(
            id: id,
            conversation: continues ?? ConversationKey(owner: owner, id: ConversationID(firstTurn: id)),
            beginsConversation: continues == nil,
            kind: kind,
            message: request.message,
            system: request.system,
            context: (request.context ?? []).map { Turn.Message(role: $0.role, content: $0.content) },
            model: limits.model,
            sampling: Turn.Sampling(
                maxTokens: request.maxTokens ?? limits.defaultMaxTokens,
                temperature: request.temperature.map(Float.init) ?? 0.7,
                topP: request.topP.map(Float.init) ?? 0.95,
                seed: request.seed ?? random.next(),
                stop: request.stop?.texts ?? []),
            acceptedAt: now,
            deadline: deadline)
    }

    private func reserve(_ turn: Turn) async throws(APIError) {
        let isFree: Bool
        do {
            // Three keys, three scripts, one trip: what a refusal leaves behind is withdrawn.
            async let taken = outstanding.take(
                user: turn.conversation.owner, turn: turn.id, limit: limits.outstandingPerUser, until: turn.deadline)
            async let reserved = log.reserve(turn)
            async let head = order.add(turn)
            isFree = try await (taken, reserved, head).0
        } catch {
            await withdraw(turn)
            throw .unavailable("Redis")
        }
        guard isFree else {
            await withdraw(turn)
            throw .tooManyRequests(
                "the user has \(limits.outstandingPerUser) unfinished turns", retryAfter: .seconds(5))
        }
    }

    private func publish(_ turn: Turn) async throws(APIError) {
        let body: [UInt8]
        do { body = Array(try JSONEncoder().encode(turn)) } catch { throw .invalid("body", "cannot be encoded") }
        let message = OutgoingMessage(turn: turn, body: body, now: turn.acceptedAt)
        var backoff = Backoff(base: .milliseconds(50), cap: .milliseconds(500))
        var mayBeQueued = false
        for _ in 0..<TurnIntake.publishAttempts {
            do throws(RabbitError) {
                return try await publisher.publish(message)
            } catch {
                mayBeQueued = mayBeQueued || error.outcomeIsUnknown
                logger.warning("a turn was not confirmed", metadata: ["turn": "\(turn.id)", "error": "\(error)"])
                // A fresh channel's first publish is sometimes refused by a queue that is not full: once more tells.
                guard mayBeQueued || error == .rejected(queue: message.queue) else { break }
                try? await Task.sleep(for: backoff.next())
            }
        }
        // A turn that may be queued keeps its reservation: if it is, it runs, unread, and ends; its id was never given out.
        if !mayBeQueued { await withdraw(turn) }
        throw .unavailable("the message broker")
    }

    private func withdraw(_ turn: Turn) async {
        // Each of these expires by itself; a failure here costs the user a place until then, and nothing else.
        _ = try? await log.forget(turn.id)
        try? await order.remove(turn.id, of: turn.conversation)
        try? await outstanding.release(user: turn.conversation.owner, turn: turn.id)
    }
}
