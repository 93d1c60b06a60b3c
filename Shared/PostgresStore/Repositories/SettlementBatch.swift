import ChatCore

/// Outcomes as the columns of one statement's arrays, checked and made storable.
struct SettlementBatch {
    private(set) var turns: [TurnID] = []
    private var tenants: [String?] = []
    private var users: [String?] = []
    private var conversations: [Int64?] = []
    private var begins: [Bool] = []
    private var kinds: [String?] = []
    private var statuses: [String?] = []
    private var finishReasons: [String?] = []
    private var errors: [String?] = []
    private var systems: [String?] = []
    private var messages: [String?] = []
    private var responses: [String?] = []
    private var eventEnds: [[UInt8]?] = []
    private var promptTokens: [Int64?] = []
    private var completionTokens: [Int64?] = []
    private var models: [String?] = []
    private var seeds: [Int64?] = []
    private var acceptedAt: [Int64?] = []
    private var firstTokenAt: [Int64?] = []
    private var endedAt: [Int64?] = []
    private var attempts: [Int64?] = []
    private var idempotencyKeys: [String?] = []
    private var requestDigests: [String?] = []
    private var replays: [String?] = []
    private var attemptLogs: [String?] = []
    private var degradations: [String?] = []
    private var sequences: [Int64?] = []

    /// - Throws: `decoding`, which names the field that can never be stored.
    mutating func append(_ outcome: TurnOutcome) throws(DatabaseError) {
        let owner = outcome.conversation.owner
        for (field, name) in [("tenant", owner.tenant), ("user", owner.user)] {
            guard (1...UserKey.maximumNameBytes).contains(name.utf8.count), !name.utf8.contains(0) else {
                throw .decoding(column: field, reason: "not a name of 1 to \(UserKey.maximumNameBytes) bytes")
            }
        }
        let times = [
            ("accepted_at", outcome.acceptedAt), ("ended_at", outcome.endedAt),
            ("first_token_at", outcome.firstTokenAt ?? 0),
        ]
        for (field, time) in times where !WireBounds.times.contains(time) {
            throw .decoding(column: field, reason: "\(time) is no time in milliseconds before the year 10000")
        }
        let ends = try EventEnds.encode(outcome.eventEnds, textBytes: outcome.response.utf8.count)
        if let idempotency = outcome.idempotency {
            guard (1...Turn.Idempotency.maximumKeyBytes).contains(idempotency.key.utf8.count),
                !idempotency.key.utf8.contains(0)
            else { throw .decoding(column: "idempotency_key", reason: "not 1 to 255 bytes") }
            guard idempotency.requestDigest.utf8.count == Turn.Idempotency.digestCharacters,
                idempotency.requestDigest.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F })
            else { throw .decoding(column: "request_digest", reason: "not a SHA-256 in hexadecimal") }
        }
        let attemptLog = outcome.attemptLog.map { log in
            // Newest ones: how it ended says most. Texts of JSON cannot hold U+0000 either.
            log.suffix(TurnOutcome.maximumAttemptLog).map { attempt in
                var attempt = attempt
                attempt.node = Self.storable(attempt.node)
                attempt.endReason = attempt.endReason.map { Self.storable($0) }
                return attempt
            }
        }
        var degradation = outcome.degradation
        degradation?.requestedModel = outcome.degradation?.requestedModel.map(Self.storable)
        let attemptLogText = try StoredJSON.encode(attemptLog, column: "attempt_log")
        let degradationText = try StoredJSON.encode(degradation, column: "degradation")

        turns.append(outcome.turn)
        tenants.append(owner.tenant)
        users.append(owner.user)
        conversations.append(outcome.conversation.id.value)
        begins.append(outcome.beginsConversation)
        kinds.append(outcome.kind.rawValue)
        statuses.append(outcome.status.rawValue)
        finishReasons.append(outcome.finishReason.rawValue)
        errors.append(outcome.error.map(Self.storable))
        systems.append(outcome.system.map(Self.storable))
        messages.append(Self.storable(outcome.message))
        responses.append(Self.storable(outcome.response))
        eventEnds.append(ends)
        promptTokens.append(Int64(outcome.usage.promptTokens))
        completionTokens.append(Int64(outcome.usage.completionTokens))
        models.append(Self.storable(outcome.model))
        seeds.append(Int64(bitPattern: outcome.seed))
        acceptedAt.append(outcome.acceptedAt)
        firstTokenAt.append(outcome.firstTokenAt)
        endedAt.append(outcome.endedAt)
        attempts.append(Int64(outcome.attempts))
        idempotencyKeys.append(outcome.idempotency?.key)
        requestDigests.append(outcome.idempotency?.requestDigest)
        replays.append(outcome.replayOf?.description)
        attemptLogs.append(attemptLogText)
        degradations.append(degradationText)
        sequences.append(outcome.sequence.flatMap { ConversationPosition.range.contains($0) ? $0 : nil })
    }

    /// PostgreSQL's text cannot hold U+0000. U+001A SUBSTITUTE (ECMA-48: a stand-in for a character that cannot be
    /// represented) takes its place, not U+FFFD: it is one byte as well, so that the byte ends of events stay right.
    static func storable(_ text: String) -> String {
        guard text.utf8.contains(0) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value == 0 ? "\u{1A}" : $0 }))
    }

    /// The parameters of ``statement``, in order.
    var parameters: [PostgresValue] {
        [
            .turns(turns), .texts(tenants), .texts(users), .integers(conversations), .booleans(begins), .texts(kinds),
            .texts(statuses), .texts(finishReasons), .texts(errors), .texts(systems), .texts(messages),
            .texts(responses), .byteStrings(eventEnds), .integers(promptTokens), .integers(completionTokens),
            .texts(models), .integers(seeds), .timestamps(acceptedAt), .timestamps(firstTokenAt),
            .timestamps(endedAt), .integers(attempts), .texts(idempotencyKeys), .texts(requestDigests),
            .texts(replays), .texts(attemptLogs), .texts(degradations), .integers(sequences),
        ]
    }

    /// Everything hangs on `gate`: only the turns that this statement itself inserted get messages and usage. All of it
    /// is one statement, so that no failure leaves half a turn; foreign keys are checked at its end. Each INSERT is
    /// ordered by its key, so that two workers take their row locks in one order.
    static let statement = """
        WITH batch AS MATERIALIZED (
            SELECT * FROM unnest(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                $22, $23, $24, $25, $26, $27
            ) AS o (
                id, tenant, user_name, conversation, begins_conversation, kind, status, finish_reason, error, system,
                message, response, event_ends, prompt_tokens, completion_tokens, model, seed, accepted_at,
                first_token_at, ended_at, attempts, idempotency_key, request_digest, replay_of, attempt_log, degradation,
                sequence
            )
        ), gate AS (
            INSERT INTO turns (
                id, tenant, user_name, conversation, begins_conversation, kind, status, finish_reason, error, model,
                seed, prompt_tokens, completion_tokens, event_ends, accepted_at, first_token_at, ended_at, attempts,
                idempotency_key, request_digest, replay_of, attempt_log, degradation, sequence
            )
            SELECT
                id, tenant, user_name, conversation, begins_conversation, kind, status, finish_reason, error, model,
                seed, prompt_tokens, completion_tokens, event_ends, accepted_at, first_token_at, ended_at, attempts,
                idempotency_key, request_digest, replay_of::uuid, attempt_log::jsonb, degradation::jsonb,
                sequence
            FROM batch ORDER BY id
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        ), fresh AS MATERIALIZED (
            SELECT batch.*,
                'epoch'::timestamptz + turn_position(sequence, accepted_at) * interval '1 microsecond' AS placed_at
            FROM batch JOIN gate USING (id)
        ), add_users AS (
            INSERT INTO users (tenant, user_name, created_at)
            SELECT tenant, user_name, min(accepted_at) FROM fresh GROUP BY 1, 2 ORDER BY 1, 2
            ON CONFLICT DO NOTHING
        ), add_conversations AS (
            INSERT INTO conversations AS c (
                tenant, user_name, id, system, system_set_at, created_at, updated_at, turn_count
            )
            SELECT
                tenant, user_name, conversation,
                (array_agg(system ORDER BY placed_at DESC, id DESC) FILTER (WHERE system IS NOT NULL))[1],
                max(placed_at) FILTER (WHERE system IS NOT NULL),
                min(accepted_at), max(ended_at), count(*)
            FROM fresh GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            ON CONFLICT (tenant, user_name, id) DO UPDATE SET
                -- Turns may be settled out of order: the system message of the later turn stays.
                system = CASE
                    WHEN excluded.system_set_at >= coalesce(c.system_set_at, '-infinity') THEN excluded.system
                    ELSE c.system
                END,
                system_set_at = greatest(c.system_set_at, excluded.system_set_at),
                created_at = least(c.created_at, excluded.created_at),
                updated_at = greatest(c.updated_at, excluded.updated_at),
                turn_count = c.turn_count + excluded.turn_count
        ), add_messages AS (
            INSERT INTO messages (tenant, user_name, conversation, created_at, turn, role, content)
            SELECT fresh.tenant, fresh.user_name, fresh.conversation, m.created_at, fresh.id, m.role, m.content
            FROM fresh CROSS JOIN LATERAL (
                VALUES
                    ('system', fresh.system, fresh.accepted_at),
                    ('user', fresh.message, fresh.accepted_at),
                    ('assistant', fresh.response, fresh.ended_at)
            ) AS m (role, content, created_at)
            WHERE m.content IS NOT NULL
        ), add_usage AS (
            INSERT INTO usage AS u (tenant, user_name, day, model, turns, prompt_tokens, completion_tokens)
            SELECT
                tenant, user_name, (ended_at AT TIME ZONE 'UTC')::date, model, count(*),
                sum(prompt_tokens)::bigint, sum(completion_tokens)::bigint
            FROM fresh GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
            ON CONFLICT (tenant, user_name, day, model) DO UPDATE SET
                turns = u.turns + excluded.turns,
                prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
                completion_tokens = u.completion_tokens + excluded.completion_tokens
        )
        SELECT id FROM gate
        """
}
