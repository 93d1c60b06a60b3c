/// The directory's versions: tenants, their keys, and where users are. It is small, and every service can run on a copy
/// of what it has read.
enum DirectorySchema {
    static let migrations = [
        Migration(
            version: 1, name: "tenants, keys, shard map",
            sql: """
                CREATE TABLE tenants (
                    name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 128),
                    created_at timestamptz NOT NULL DEFAULT now()
                );

                CREATE TABLE api_keys (
                    id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 128),
                    tenant text NOT NULL REFERENCES tenants,
                    name text NOT NULL CHECK (octet_length(name) <= 256),
                    hash bytea NOT NULL CHECK (octet_length(hash) = 32),  -- SHA-256 of the secret
                    is_admin boolean NOT NULL DEFAULT false,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    expires_at timestamptz,
                    revoked_at timestamptz
                );
                CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at DESC);

                -- The ring's members, one row each time they changed; the highest version holds.
                CREATE TABLE shard_map (
                    version bigint PRIMARY KEY,
                    members text[] NOT NULL,
                    created_at timestamptz NOT NULL DEFAULT now()
                );

                -- Users that are not where the ring says.
                CREATE TABLE moved_users (
                    tenant text NOT NULL,
                    user_name text NOT NULL,
                    shard text NOT NULL,
                    moved_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (tenant, user_name)
                );
                """),
        Migration(
            version: 2, name: "dead letters",
            sql: """
                -- Messages that no consumer will get again, whole, until somebody replays or drops them. They hold what
                -- users wrote: whoever erases a user has to look here too.
                CREATE TABLE dead_letters (
                    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                    -- SHA-256 over queue, message id and body: a message that is drained twice is one letter.
                    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
                    queue text NOT NULL,      -- where it died
                    message_id text NOT NULL,
                    reason text NOT NULL,
                    turn uuid,                -- with the next two, when the message could be read
                    tenant text,
                    user_name text,
                    body bytea NOT NULL,
                    died_at timestamptz NOT NULL DEFAULT now(),
                    replayed_as uuid,         -- chosen before the replay is accepted, so that a repeat is the same turn
                    replayed_at timestamptz
                );
                CREATE INDEX dead_letters_by_user ON dead_letters (tenant, user_name, id DESC);
                CREATE INDEX dead_letters_by_time ON dead_letters (died_at);
                """),
        Migration(
            version: 3, name: "tiers of keys",
            sql: """
                ALTER TABLE api_keys ADD COLUMN tier text NOT NULL DEFAULT 'standard'
                    CHECK (tier IN ('premium', 'standard', 'economy'));
                """),
    ]
}
