import ChatCore
import Logging
import PostgresStore
import RedisStore
import ServiceKit

/// Finds out whether a request with an Idempotency-Key was made before, and what became of it.
struct RepeatedRequests: Sendable {
    enum Finding: Equatable {
        /// - Parameter insteadOf: a turn that the key stood for, and that was never published.
        case new(insteadOf: TurnID?)
        /// This turn was frozen for it, and is to be published: whoever froze it died, or could not.
        case reserved(Turn)
        case accepted(TurnID)
    }

    let keys: IdempotencyKeys
    let log: TurnLog
    let conversations: ConversationRepository
    let generation: GenerationMark
    let clock: RedisClock
    let logger: Logger
    var pool = WorkPool.shared

    /// A request that comes while its twin is just being accepted waits for it so long, then publishes the turn as well.
    static let patience: Duration = .seconds(1)
    /// A turn whose deadline has passed ends within this time, if anybody has it.
    static let ending: Duration = .seconds(30)

    func find(_ idempotency: Turn.Idempotency?, of owner: UserKey) async throws(APIError) -> Finding {
        guard let idempotency else { return .new(insteadOf: nil) }
        guard let claim = try await claim(idempotency, owner) else { return try await settled(idempotency, owner) }
        guard claim.requestDigest == idempotency.requestDigest else { throw .keyReused }
        switch claim.state {
        case .published: return .accepted(claim.turn)
        case .reserved(let body):
            // What this version cannot read it cannot publish: the key is taken from it.
            guard let turn = try await turn(reservedAs: body), turn.id == claim.turn else {
                return .new(insteadOf: claim.turn)
            }
            return .reserved(turn)
        case .lapsed: return try await whatBecame(of: claim.turn, idempotency, owner)
        }
    }

    /// A turn that was frozen; nil when this version cannot read it.
    private func turn(reservedAs body: [UInt8]) async throws(APIError) -> Turn? {
        do {
            return try await pool.decode(Turn.self, from: body)
        } catch  where error is WorkPool.Full || error is CancellationError {
            // The turn is not at fault: a second one for the same request would be.
            throw .busy
        } catch {
            return nil
        }
    }

    private func claim(
        _ idempotency: Turn.Idempotency, _ owner: UserKey
    ) async throws(APIError) -> IdempotencyKeys.Claim? {
        let start = ContinuousClock.now
        do {
            while true {
                let claim = try await keys.look(idempotency.key, of: owner)
                guard case .reserved = claim?.state, claim?.requestDigest == idempotency.requestDigest,
                    start + RepeatedRequests.patience > .now
                else { return claim }
                try await Task.sleep(for: .milliseconds(50))
            }
        } catch {
            throw .redis(error)
        }
    }

    /// Redis knows nothing of the key: it is new, or Redis has lost what it knew. Then the shard remembers the settled.
    private func settled(_ idempotency: Turn.Idempotency, _ owner: UserKey) async throws(APIError) -> Finding {
        guard try await mayBeForgotten(), let settled = try await settledTurn(idempotency, owner) else {
            return .new(insteadOf: nil)
        }
        guard settled.requestDigest == idempotency.requestDigest else { throw .keyReused }
        return .accepted(settled.turn)
    }

    private func mayBeForgotten() async throws(APIError) -> Bool {
        do throws(RedisError) {
            let now = try await clock.now()
            if let seen = generation.lastSeen, RepeatedRequests.mayBeForgotten(now: now, keptSince: seen) {
                return true
            }
            return RepeatedRequests.mayBeForgotten(now: now, keptSince: try await generation.keptSince())
        } catch {
            throw .redis(error)
        }
    }

    /// Whether a key that still counts may be missing in Redis. When Redis has kept everything for a day, no shard is asked.
    /// - Parameters:
    ///   - now: Unix time in milliseconds, as `keptSince`.
    static func mayBeForgotten(now: Int64, keptSince: Int64) -> Bool {
        keptSince > now - Int64(IdempotencyKeys.lifetime / .milliseconds(1))
    }

    /// A turn was reserved, and nobody said whether it was published; its deadline has passed.
    private func whatBecame(
        of turn: TurnID, _ idempotency: Turn.Idempotency, _ owner: UserKey
    ) async throws(APIError) -> Finding {
        let record: TurnLog.Record?
        let now: Int64
        do throws(RedisError) {
            record = try await log.record(of: turn)
            now = try await clock.now()
        } catch {
            throw .redis(error)
        }
        if let record {
            if record.hasEnded { return .accepted(turn) }
            let grace = Int64(RepeatedRequests.ending / .milliseconds(1))
            guard now - grace > record.deadline else { throw .keyInUse }
        }
        return try await settledTurn(idempotency, owner)?.turn == turn ? .accepted(turn) : .new(insteadOf: turn)
    }

    private func settledTurn(
        _ idempotency: Turn.Idempotency, _ owner: UserKey
    ) async throws(APIError) -> (turn: TurnID, requestDigest: String)? {
        do {
            let since = try await clock.now() - Int64(IdempotencyKeys.lifetime / .milliseconds(1))
            return try await conversations.turn(idempotencyKey: idempotency.key, of: owner, since: since)
        } catch {
            logger.warning("an idempotency key could not be looked up", metadata: ["error": "\(error)"])
            // To go on would be to risk a second turn for a request that the client makes only once.
            throw .unavailable("the store that knows whether this Idempotency-Key was used")
        }
    }
}
