import ChatCore

/// One version of a schema. Once released it never changes; a checksum in the database holds us to that.
struct Migration: Sendable {
    let version: Int
    let name: String
    /// Statements that run in one transaction.
    let sql: String
}

/// The schema's versions, and how a database gets to the newest.
public enum Migrations {
    /// A version that ``migrate(_:)`` has just applied.
    public struct Applied: Sendable, Equatable {
        public let shard: String
        /// `directory` or `shard`: each list has its own count.
        public let list: String
        public let version: Int
        public let name: String
    }

    /// Partitions that are made ahead when nobody says otherwise, in months.
    public static let monthsAhead = 3
    /// A migration may rewrite tables, and waits for another one that is at it.
    static let timeout = Duration.seconds(600)

    /// Brings the directory and every shard to the newest version, then makes the partitions of the next months.
    /// Running it again, or two at once, changes nothing more.
    /// - Throws: the first shard's error; what other shards applied stays, and the next run goes on from there.
    ///   `migration` when a version was changed after it was applied, or the shards are not those of the shard map.
    @discardableResult
    public static func migrate(_ database: ShardedDatabase) async throws(DatabaseError) -> [Applied] {
        var applied = try await apply(DirectorySchema.migrations, list: "directory", to: database.directory)
        try await checkShardMap(database)
        for (_, result) in await database.onAll({ shard throws(DatabaseError) in
            try await apply(ShardSchema.migrations, list: "shard", to: shard.pool)
        }) {
            applied += try result.get()
        }
        for (_, result) in await ensurePartitions(database) { _ = try result.get() }
        return applied
    }

    /// Makes the partitions of this month and of the `months` months after it, on every shard; migrate does it, and
    /// the queue worker hourly.
    /// - Returns: one result for each shard: the names of the tables made.
    public static func ensurePartitions(
        _ database: ShardedDatabase, months: Int = Migrations.monthsAhead
    ) async -> [(shard: ShardedDatabase.Shard, result: Result<[String], DatabaseError>)] {
        await database.onAll { shard throws(DatabaseError) in
            let rows = try await shard.pool.write(
                "SELECT ensure_partitions($1::integer) AS name", [.integer(Int64(months))])
            var names: [String] = []
            for row in rows { names.append(try row.value("name")) }
            return names
        }
    }

    // MARK: One list on one database

    static func apply(
        _ migrations: [Migration], list: String, to pool: PostgresPool
    ) async throws(DatabaseError) -> [Applied] {
        try await prepareRecord(pool)
        var applied: [Applied] = []
        for migration in migrations {
            let isNew = try await pool.withTransaction { connection throws(DatabaseError) in
                try await apply(migration, list: list, on: connection)
            }
            if isNew {
                applied.append(
                    Applied(shard: pool.name, list: list, version: migration.version, name: migration.name))
            }
        }
        return applied
    }

    private static func apply(
        _ migration: Migration, list: String, on connection: PostgresConnection
    ) async throws(DatabaseError) -> Bool {
        try await takeTurns(connection)
        let recorded = try await connection.query(
            """
            SELECT checksum = sha256(convert_to($3, 'UTF8')) AS is_same FROM schema_migrations
            WHERE list = $1 AND version = $2
            """, [.text(list), .integer(Int64(migration.version)), .text(migration.sql)])
        if let row = recorded.first {
            guard try row.value("is_same", as: Bool.self) else {
                throw .migration("\(list) \(migration.version) (\(migration.name)) was changed after it was applied")
            }
            return false
        }
        try await connection.execute(script: migration.sql, timeout: timeout)
        try await connection.query(
            """
            INSERT INTO schema_migrations (list, version, name, checksum)
            VALUES ($1, $2, $3, sha256(convert_to($4, 'UTF8')))
            """,
            [.text(list), .integer(Int64(migration.version)), .text(migration.name), .text(migration.sql)])
        return true
    }

    private static func prepareRecord(_ pool: PostgresPool) async throws(DatabaseError) {
        try await pool.withTransaction { connection throws(DatabaseError) in
            // Under the lock: two CREATE TABLE IF NOT EXISTS at once can collide in the catalogue.
            try await takeTurns(connection)
            try await connection.execute(
                script: """
                    CREATE TABLE IF NOT EXISTS schema_migrations (
                        list text NOT NULL,
                        version bigint NOT NULL,
                        name text NOT NULL,
                        checksum bytea NOT NULL,  -- SHA-256 of the statements
                        applied_at timestamptz NOT NULL DEFAULT now(),
                        PRIMARY KEY (list, version)
                    )
                    """)
        }
    }

    /// Until the transaction's end, one migrator at a time in this database.
    private static func takeTurns(_ connection: PostgresConnection) async throws(DatabaseError) {
        try await connection.execute(script: "SET LOCAL statement_timeout = \(Int(timeout / .milliseconds(1)))")
        try await connection.execute(
            script: "SELECT pg_advisory_xact_lock(hashtextextended('switchboard.migrations', 0))", timeout: timeout)
    }

    /// Users are where the ring of the recorded names puts them: under other names they would not be found.
    private static func checkShardMap(_ database: ShardedDatabase) async throws(DatabaseError) {
        let members = PostgresValue.texts(database.shards.map(\.name).sorted())
        let rows = try await database.directory.query(
            """
            WITH first AS (
                INSERT INTO shard_map (version, members) SELECT 1, $1
                WHERE NOT EXISTS (SELECT FROM shard_map) ON CONFLICT DO NOTHING
            )
            SELECT members = $1 AS is_same, array_to_string(members, ', ') AS recorded
            FROM shard_map ORDER BY version DESC LIMIT 1
            """, [members])
        guard let row = rows.first, try !row.value("is_same", as: Bool.self) else { return }
        throw .migration(
            "DATABASE_SHARDS names other shards than the shard map (\(try row.value("recorded", as: String.self)))")
    }
}
