import ChatCore
import Foundation
import Logging
import PostgresStore
import RedisStore
import ServiceKit
import TraceKit
import TurnProtocol

/// What a turn is measured by before it is accepted.
struct IntakeLimits: Sendable {
    let model: String
    let defaultMaxTokens: Int
    let requestsPerMinute: [Turn.Kind: Int]
    /// Of a tenant, all its keys, users and kinds together; 0 lifts the limit.
    let requestsPerMinuteOfTenant: Int
    /// Whether requests are let through while Redis, which counts them, does not answer.
    let acceptsUncounted: Bool
    let outstanding: OutstandingTurns.Limits
    let deadline: Duration
    let batchDeadline: Duration

    func deadline(of kind: Turn.Kind) -> Duration { kind == .batch ? batchDeadline : deadline }
}

/// Accepts turns: limits, freezes everything that changes tokens, and has the frozen turn made durable. What it returns
/// survives the death of any process.
struct TurnIntake: Sendable {
    /// A turn that a request began, or had begun before.
    struct Accepted: Equatable {
        let id: TurnID
        /// The request had been made before, under the same Idempotency-Key.
        var isRepeat = false
    }

    let limits: IntakeLimits
    let limiter: RateLimiter
    let gate: IntakeGate
    let admission: AdmissionControl
    let repeats: RepeatedRequests
    let acceptance: TurnAcceptance
    let contexts: ContextCache
    let conversations: ConversationRepository
    let clock: RedisClock
    let metrics: IntakeMetrics
    let logger: Logger
    var tracer: SpanTracer?
    var pool = WorkPool.shared

    /// How often a request whose key another one takes at the same moment looks again whose turn it is.
    private static let looks = 3

    /// - Parameter key: the Idempotency-Key that came with the request.
    func accept(
        _ request: TurnRequest, kind: Turn.Kind, key: IdempotencyKey?, from principal: Principal
    ) async throws(APIError) -> Accepted {
        do throws(APIError) {
            let accepted = try await take(request, kind: kind, key: key, from: principal)
            // A repeated request began no turn.
            if !accepted.isRepeat { metrics.accepted(kind, principal.tier) }
            return accepted
        } catch {
            metrics.refused(error)
            throw error
        }
    }

    private func take(
        _ request: TurnRequest, kind: Turn.Kind, key: IdempotencyKey?, from principal: Principal
    ) async throws(APIError) -> Accepted {
        let owner = UserKey(tenant: principal.tenant, user: request.userID.text)
        if let model = request.model, ExactName(model) != ExactName(limits.model) {
            throw .invalid("model", "names no model of this server; it has \(limits.model)")
        }
        let bounds = admission.contexts(of: limits.model)
        try await goThrough(request) { () throws(APIError) in try ContextCheck.check(request, bounds) }
        try await limitRate(kind, owner: owner, key: principal.keyID)
        let idempotency = try await goThrough(request) { key?.idempotency(for: request, kind) }
        for _ in 0..<TurnIntake.looks {
            switch try await repeats.find(idempotency, of: owner) {
            case .accepted(let id): return Accepted(id: id, isRepeat: true)
            case .reserved(let turn):
                try gate.check(owner, turn.kind)
                guard try await makeDurable(turn) else { continue }
                return Accepted(id: turn.id, isRepeat: true)
            case .new(let lapsed):
                try gate.check(owner, kind)
                let continued = try await existing(request.conversationID, of: owner)
                let whole = try await freeze(
                    request, kind: kind, owner: owner, continues: continued, tier: principal.tier)
                var turn = try await admission.admit(
                    whole,
                    asked: .init(
                        namesModel: request.model != nil,
                        isDeterministic: request.seed != nil || request.temperature == 0))
                turn.idempotency = idempotency
                guard try await makeDurable(turn, insteadOf: lapsed) else { continue }
                return Accepted(id: turn.id)
            }
        }
        throw .keyInUse
    }

    /// Does what looks at every byte of a request's texts.
    private func goThrough<Result: Sendable>(
        _ request: TurnRequest, _ work: @escaping @Sendable () throws(APIError) -> Result
    ) async throws(APIError) -> Result {
        do { return try await pool.run(bytes: request.textBytes) { _ in try work() } } catch {
            throw error as? APIError ?? .busy
        }
    }

    /// - Returns: false when the turn's key stands for another turn since a moment ago, or its conversation's number for
    ///   another conversation.
    private func makeDurable(_ turn: Turn, insteadOf lapsed: TurnID? = nil) async throws(APIError) -> Bool {
        let now = try await now()
        var turn = turn
        let span = beginAccept(&turn)
        defer { span?.end() }
        do throws(AcceptanceError) {
            try await acceptance.accept(
                turn, limits: limits.outstanding, now: now, insteadOf: lapsed)
            return true
        } catch {
            span?.fail("\(error)")
            switch error {
            // Another look: whose turn the key stands for, or under which number a conversation begins.
            case .keyTaken, .conversationTaken: return false
            case .tooManyUnfinished(let limit):
                throw .tooManyRequests("\(limit)", retryAfter: .seconds(5))
            case .unwritable: throw .invalid("body", "cannot be encoded")
            case .busy: throw .busy
            case .store(let error): throw .redis(error)
            case .refused, .unconfirmed: throw .unavailable("the message broker")
            }
        }
    }

    private func now() async throws(APIError) -> Int64 {
        do throws(RedisError) { return try await clock.now() } catch { throw .redis(error) }
    }

    func limitRate(_ kind: Turn.Kind, owner: UserKey, key: String) async throws(APIError) {
        // Asked together: what one of the two refuses is taken from neither, and so not from the tenant's other users.
        let ofTenant = RateLimiter.Limit(name: "tenant", requests: limits.requestsPerMinuteOfTenant)
        let ofUser = RateLimiter.Limit(
            name: "\(kind.rawValue):\(key):\(owner.user)", requests: limits.requestsPerMinute[kind] ?? 0)
        let decision: RateLimiter.Decision
        do throws(RedisError) {
            // 0 lifts a limit.
            decision = try await limiter.take(
                [ofUser, ofTenant].filter { $0.requests > 0 }, of: HashTag.tenant(owner.tenant))
        } catch {
            guard limits.acceptsUncounted else { throw .redis(error) }
            return logger.warning("a request was not counted", metadata: ["error": "\(error)"])
        }
        guard case .refused(let limit, let wait) = decision else { return }
        throw .tooManyRequests(
            "at most \(limit.requests) requests a minute for each \(limit == ofTenant ? "tenant" : "key and user")",
            retryAfter: wait)
    }

    /// The conversation that the client names, if it is the user's: warm in Redis, unfinished, or in the shard.
    private func existing(_ number: Int64?, of owner: UserKey) async throws(APIError) -> ConversationKey? {
        guard let number, let id = ConversationID(number) else { return nil }
        let key = ConversationKey(owner: owner, id: id)
        let isThere: Bool
        do {
            if try await contexts.exists(key) {
                isThere = true
            } else if try await acceptance.order.exists(key) {
                isThere = true
            } else {
                isThere = try await conversations.exists(key)
                // Its history would be waited for to the turn's deadline.
                guard !isThere || gate.stores(outcomesOf: owner) else {
                    throw APIError.unavailable("the conversation's store")
                }
            }
        } catch {
            logger.warning("a conversation could not be looked up", metadata: ["error": "\(error)"])
            throw .unavailable("the conversation's store")
        }
        guard isThere else { throw .unknownConversation }
        return key
    }

    private func freeze(
        _ request: TurnRequest, kind: Turn.Kind, owner: UserKey, continues: ConversationKey?,
        tier: Tier
    ) async throws(APIError) -> Turn {
        let now = try await now()
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
            deadline: deadline,
            tier: tier == .standard ? nil : tier)
    }
}
