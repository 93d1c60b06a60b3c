/// A shard's versions: users and what they said. Everything of a user hangs on its row in `users`, so that deleting
/// that row deletes the person; each foreign key's columns are a prefix of an index on the referencing side.
enum ShardSchema {
    static let migrations = [
        Migration(
            version: 1, name: "users, conversations, turns, messages, usage",
            sql: """
                CREATE TABLE users (
                    tenant text NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 128),
                    user_name text NOT NULL CHECK (octet_length(user_name) BETWEEN 1 AND 128),
                    created_at timestamptz NOT NULL,
                    PRIMARY KEY (tenant, user_name)
                );

                CREATE TABLE conversations (
                    tenant text NOT NULL,
                    user_name text NOT NULL,
                    id bigint NOT NULL CHECK (id BETWEEN 1 AND 9007199254740991),
                    system text,                -- the newest system message that a turn brought,
                    system_set_at timestamptz,  -- and when that turn was accepted
                    created_at timestamptz NOT NULL,
                    updated_at timestamptz NOT NULL,
                    turn_count bigint NOT NULL,
                    PRIMARY KEY (tenant, user_name, id),
                    FOREIGN KEY (tenant, user_name) REFERENCES users ON DELETE CASCADE
                );
                CREATE INDEX conversations_by_update ON conversations (tenant, user_name, updated_at DESC, id DESC);

                -- The gate: a turn is stored when, and only when, its row is inserted here. So it is not partitioned by
                -- time: its primary key has to be the turn's id alone.
                CREATE TABLE turns (
                    id uuid PRIMARY KEY,
                    tenant text NOT NULL,
                    user_name text NOT NULL,
                    conversation bigint NOT NULL,
                    begins_conversation boolean NOT NULL,
                    kind text NOT NULL CHECK (kind IN ('chat', 'stream', 'batch')),
                    status text NOT NULL CHECK (status IN ('done', 'failed', 'cancelled')),
                    finish_reason text NOT NULL CHECK (finish_reason IN ('stop', 'length', 'cancelled', 'error')),
                    error text,
                    model text NOT NULL,
                    seed bigint NOT NULL,        -- the bits of an unsigned number
                    prompt_tokens bigint NOT NULL CHECK (prompt_tokens >= 0),
                    completion_tokens bigint NOT NULL CHECK (completion_tokens >= 0),
                    event_ends bytea NOT NULL,   -- bytes of text of each token, LEB128
                    accepted_at timestamptz NOT NULL,
                    first_token_at timestamptz,
                    ended_at timestamptz NOT NULL,
                    attempts bigint NOT NULL CHECK (attempts >= 0),
                    settled_at timestamptz NOT NULL DEFAULT now(),
                    FOREIGN KEY (tenant, user_name, conversation) REFERENCES conversations ON DELETE CASCADE
                );
                CREATE INDEX turns_by_conversation
                    ON turns (tenant, user_name, conversation, accepted_at DESC, id DESC);

                -- created_at is the turn's accepted_at for system and user, its ended_at for the assistant: exactly
                -- equal, so that a join from turns looks into one partition only.
                CREATE TABLE messages (
                    tenant text NOT NULL,
                    user_name text NOT NULL,
                    conversation bigint NOT NULL,
                    created_at timestamptz NOT NULL,
                    turn uuid NOT NULL,
                    role text NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
                    content text NOT NULL,
                    PRIMARY KEY (tenant, user_name, conversation, created_at, turn, role),
                    FOREIGN KEY (tenant, user_name, conversation) REFERENCES conversations ON DELETE CASCADE
                ) PARTITION BY RANGE (created_at);
                CREATE TABLE messages_default PARTITION OF messages DEFAULT;

                -- Each turn's own numbers stand in turns; these are their sums, which limits and bills ask for.
                CREATE TABLE usage (
                    tenant text NOT NULL,
                    user_name text NOT NULL,
                    day date NOT NULL,           -- of ended_at, in UTC
                    model text NOT NULL,
                    turns bigint NOT NULL,
                    prompt_tokens bigint NOT NULL,
                    completion_tokens bigint NOT NULL,
                    PRIMARY KEY (tenant, user_name, day, model),
                    FOREIGN KEY (tenant, user_name) REFERENCES users ON DELETE CASCADE
                );
                """),
        Migration(version: 2, name: "partitions made ahead", sql: ensurePartitions),
        Migration(
            version: 3, name: "repeated requests, replays, attempts, degradation",
            sql: """
                ALTER TABLE turns
                    ADD COLUMN idempotency_key text CHECK (octet_length(idempotency_key) BETWEEN 1 AND 255),
                    ADD COLUMN request_digest text CHECK (octet_length(request_digest) = 64),  -- SHA-256, hexadecimal
                    ADD COLUMN replay_of uuid,
                    ADD COLUMN attempt_log jsonb,
                    ADD COLUMN degradation jsonb,
                    ADD CHECK ((idempotency_key IS NULL) = (request_digest IS NULL));
                -- Not unique: a key is free again after a day.
                CREATE INDEX turns_by_idempotency_key
                    ON turns (tenant, user_name, idempotency_key, accepted_at DESC)
                    WHERE idempotency_key IS NOT NULL;
                """),
        Migration(
            version: 4, name: "the order of a conversation",
            sql: """
                -- The turn's number in its conversation; NULL when it came from a release that went by accepted_at.
                ALTER TABLE turns ADD COLUMN sequence bigint CHECK (sequence BETWEEN 0 AND 9007199254740991);
                -- extract() of a timestamptz is not immutable for the sake of fields that depend on the time zone; the epoch
                -- does not. Old rows, and those that an older worker still inserts, have their place by it.
                CREATE FUNCTION turn_position(sequence bigint, accepted_at timestamptz) RETURNS bigint
                    LANGUAGE sql IMMUTABLE PARALLEL SAFE
                    AS $$ SELECT coalesce(sequence, (extract(epoch FROM accepted_at) * 1000000)::bigint) $$;
                CREATE INDEX turns_by_position ON turns
                    (tenant, user_name, conversation, turn_position(sequence, accepted_at) DESC, id DESC);
                -- The new index begins with the same columns.
                DROP INDEX turns_by_conversation;
                -- It is the newest turn's number as a time, from now on.
                COMMENT ON COLUMN conversations.system_set_at IS 'the position of the turn that brought system';
                """),
    ]

    /// A month's partition is filled from the default one, and attached when it is complete: rows that came before it
    /// was made are neither lost nor in its way.
    private static let ensurePartitions = """
        CREATE FUNCTION ensure_partitions(months integer) RETURNS SETOF text LANGUAGE plpgsql AS $function$
        DECLARE
            this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
            lower_bound timestamptz;
            upper_bound timestamptz;
            partition text;
        BEGIN
            IF months NOT BETWEEN 0 AND 120 THEN
                RAISE EXCEPTION 'months must be in 0..120, not %', months USING ERRCODE = '22023';
            END IF;
            PERFORM pg_advisory_xact_lock(hashtextextended('switchboard.ensure_partitions', 0));
            FOR ahead IN 0..months LOOP
                lower_bound := (this_month + make_interval(months => ahead)) AT TIME ZONE 'UTC';
                upper_bound := (this_month + make_interval(months => ahead + 1)) AT TIME ZONE 'UTC';
                partition := 'messages_' || to_char(this_month + make_interval(months => ahead), 'YYYY_MM');
                CONTINUE WHEN to_regclass(partition) IS NOT NULL;
                EXECUTE format(
                    'CREATE TABLE %I (LIKE messages INCLUDING CONSTRAINTS) PARTITION BY HASH (tenant, user_name)',
                    partition);
                FOR remainder IN 0..3 LOOP
                    EXECUTE format(
                        'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 4, REMAINDER %s)',
                        partition || '_' || remainder, partition, remainder);
                END LOOP;
                LOCK TABLE messages_default IN ACCESS EXCLUSIVE MODE;
                EXECUTE format(
                    'WITH early AS (DELETE FROM messages_default WHERE created_at >= %L AND created_at < %L RETURNING *)
                     INSERT INTO %I SELECT * FROM early', lower_bound, upper_bound, partition);
                EXECUTE format(
                    'ALTER TABLE messages ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    partition, lower_bound, upper_bound);
                RETURN NEXT partition;
            END LOOP;
        END
        $function$;
        """
}
