import ChatCore

extension ConversationRepository {
    /// A settled turn as it ended, with the byte ends of its events.
    /// - Parameters:
    ///   - tenant: a turn of another tenant is not found.
    ///   - user: when known, only that user's shard is asked, and another user's turn is not found; otherwise all
    ///     shards are asked at once.
    /// - Throws: when it was found nowhere and a shard could not be asked.
    public func turn(
        _ id: TurnID, tenant: String, user: String? = nil
    ) async throws(DatabaseError) -> TurnOutcome? {
        if let user {
            let shard = database.shard(for: UserKey(tenant: tenant, user: user))
            return try await turn(id, tenant: tenant, user: user, on: shard)
        }
        // The first that finds it answers. The others are not cancelled, which would cost each its connection: they
        // end by themselves, and nobody waits for a shard that is slow to be down.
        let (results, continuation) = AsyncStream<Result<TurnOutcome?, DatabaseError>>.makeStream()
        for shard in database.shards {
            Task {
                do throws(DatabaseError) {
                    continuation.yield(.success(try await turn(id, tenant: tenant, user: nil, on: shard)))
                } catch {
                    continuation.yield(.failure(error))
                }
            }
        }
        var failure: DatabaseError?
        var answers = 0
        for await result in results {
            switch result {
            case .success(.some(let turn)): return turn
            case .success(nil): break
            case .failure(let error): failure = failure ?? error
            }
            answers += 1
            if answers == database.shards.count { break }
        }
        guard answers == database.shards.count else { throw .cancelled }
        if let failure { throw failure }
        return nil
    }

    private func turn(
        _ id: TurnID, tenant: String, user: String?, on shard: ShardedDatabase.Shard
    ) async throws(DatabaseError) -> TurnOutcome? {
        let rows = try await shard.pool.query(
            """
            SELECT t.*, t.attempt_log::text AS attempt_text, t.degradation::text AS degradation_text,
                s.content AS system, q.content AS message, coalesce(a.content, '') AS response
            FROM turns t
            \(Self.messages)
            WHERE t.id = $1 AND t.tenant = $2 AND ($3 IS NULL OR t.user_name = $3)
            """, [.turn(id), .text(tenant), .text(user)])
        guard let row = rows.first else { return nil }
        return try Self.outcome(row)
    }

    private static func outcome(_ row: PostgresRow) throws(DatabaseError) -> TurnOutcome {
        guard let conversation = ConversationID(try row.value("conversation", as: Int64.self)) else {
            throw .decoding(column: "conversation", reason: "not a conversation's number")
        }
        let response = try row.value("response", as: String.self)
        var idempotency: Turn.Idempotency?
        if let key = try row.optional("idempotency_key", as: String.self) {
            idempotency = .init(key: key, requestDigest: try row.value("request_digest"))
        }
        return TurnOutcome(
            turn: try row.value("id"),
            conversation: ConversationKey(
                owner: UserKey(tenant: try row.value("tenant"), user: try row.value("user_name")), id: conversation),
            beginsConversation: try row.value("begins_conversation"),
            kind: try row.choice("kind"),
            status: try row.choice("status"),
            finishReason: try row.choice("finish_reason"),
            error: try row.optional("error"),
            system: try row.optional("system"),
            message: try row.value("message"),
            response: response,
            eventEnds: try EventEnds.decode(try row.value("event_ends"), textBytes: response.utf8.count),
            usage: TurnOutcome.Usage(
                promptTokens: Int(try row.value("prompt_tokens", as: Int64.self)),
                completionTokens: Int(try row.value("completion_tokens", as: Int64.self))),
            model: try row.value("model"),
            seed: UInt64(bitPattern: try row.value("seed", as: Int64.self)),
            acceptedAt: try row.value("accepted_at", as: UnixMilliseconds.self).value,
            firstTokenAt: try row.optional("first_token_at", as: UnixMilliseconds.self)?.value,
            endedAt: try row.value("ended_at", as: UnixMilliseconds.self).value,
            attempts: Int(try row.value("attempts", as: Int64.self)),
            idempotency: idempotency,
            replayOf: try row.optional("replay_of"),
            degradation: try StoredJSON.decode(
                Turn.Degradation.self, try row.optional("degradation_text"), column: "degradation"),
            attemptLog: try StoredJSON.decode(
                [TurnOutcome.Attempt].self, try row.optional("attempt_text"), column: "attempt_log"),
            sequence: try row.optional("sequence", as: Int64.self))
    }

    /// The newest settled turn that a user asked for under this key, at or after `since` (Unix milliseconds).
    public func turn(
        idempotencyKey: String, of user: UserKey, since: Int64
    ) async throws(DatabaseError) -> (turn: TurnID, requestDigest: String)? {
        let rows = try await database.shard(for: user).pool.query(
            """
            SELECT id, request_digest FROM turns
            WHERE tenant = $1 AND user_name = $2 AND idempotency_key = $3 AND accepted_at >= $4
            ORDER BY accepted_at DESC LIMIT 1
            """, [.text(user.tenant), .text(user.user), .text(idempotencyKey), .timestamp(since)])
        guard let row = rows.first else { return nil }
        return (try row.value("id"), try row.value("request_digest"))
    }
}
