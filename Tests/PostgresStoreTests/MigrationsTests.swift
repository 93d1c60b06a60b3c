import ChatCore
import TestServers
import Testing

@testable import PostgresStore

@Suite(.timeLimit(.minutes(2))) struct MigrationsTests {
    @Test func theSecondRunChangesNothing() async throws {
        try await withDatabase(shards: 2, migrated: false) { database in
            let first = try await Migrations.migrate(database)
            #expect(first.map { "\($0.shard) \($0.list) \($0.version)" } == Self.everyVersion)
            #expect(try await Migrations.migrate(database).isEmpty)
        }
    }

    @Test func manyAtOnceApplyEachVersionOnce() async throws {
        try await withDatabase(shards: 2, migrated: false) { database in
            let applied = try await withThrowingTaskGroup(of: [Migrations.Applied].self) { group in
                for _ in 0..<4 { group.addTask { try await Migrations.migrate(database) } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(applied.map { "\($0.shard) \($0.list) \($0.version)" }.sorted() == Self.everyVersion)
        }
    }

    /// What two shards are brought to, in the order in which one migrator does it.
    private static let everyVersion =
        DirectorySchema.migrations.map { "shard0 directory \($0.version)" }
        + ["shard0", "shard1"].flatMap { shard in ShardSchema.migrations.map { "\(shard) shard \($0.version)" } }

    @Test func aFailedVersionLeavesNothingAndTheNextRunGoesOn() async throws {
        try await withDatabase(migrated: false) { database in
            let pool = database.directory
            let good = Migration(version: 1, name: "good", sql: "CREATE TABLE a (); CREATE TABLE b ();")
            let bad = Migration(version: 2, name: "bad", sql: "CREATE TABLE c (); SELECT 1 / 0;")
            #expect(
                await failure { try await Migrations.apply([good, bad], list: "test", to: pool) }?.sqlState == "22012")
            try await pool.query("SELECT FROM a, b")
            #expect(await failure { try await pool.query("SELECT FROM c") }?.sqlState == "42P01")
            let mended = Migration(version: 2, name: "bad", sql: "CREATE TABLE c ()")
            #expect(try await Migrations.apply([good, mended], list: "test", to: pool).map(\.version) == [2])
        }
    }

    @Test func aVersionChangedAfterItsReleaseIsRefused() async throws {
        try await withDatabase(migrated: false) { database in
            let released = Migration(version: 1, name: "tables", sql: "CREATE TABLE a ()")
            let changed = Migration(version: 1, name: "tables", sql: "CREATE TABLE a (id bigint)")
            let applied = try await Migrations.apply([released], list: "test", to: database.directory)
            #expect(applied.count == 1)
            guard
                case .migration? = await failure({
                    try await Migrations.apply([changed], list: "test", to: database.directory)
                })
            else {
                Issue.record("a changed version went through")
                return
            }
        }
    }

    @Test func otherShardsThanRecordedAreRefused() async throws {
        let uris = try await TestServers.postgres().freshDatabases(count: 2)
        try await withDatabase(uris: uris) { _ in }
        let renamed = try openDatabase(["shard0=\(uris[0])", "elsewhere=\(uris[1])"])
        guard case .migration? = await failure({ try await Migrations.migrate(renamed) }) else {
            Issue.record("users would have been lost")
            return
        }
        await renamed.close()
        // The order of a list says nothing: places follow from names.
        try await withDatabase(uris: ["shard1=\(uris[1])", "shard0=\(uris[0])"], migrated: false) { database in
            let fresh = try await Migrations.migrate(database)
            #expect(fresh.allSatisfy { $0.list == "directory" })
        }
    }

    @Test func partitionsExistAheadAndRowsFallIntoThem() async throws {
        try await withDatabase { database in
            let pool = database.directory
            let rows = try await pool.query(
                "SELECT relid::regclass::text AS name FROM pg_partition_tree('messages') WHERE isleaf ORDER BY 1")
            // The default one, and four for this month and each of the next three.
            #expect(rows.count == 1 + 4 * 4)
            let now = try #require(
                try await pool.query("SELECT now() AS now").first?.value("now", as: UnixMilliseconds.self).value)
            let key = try ConversationKey.test()
            let outcomes = [TurnOutcome.test(0, in: key, acceptedAt: now), .test(1, in: key, acceptedAt: 0)]
            let settled = try await SettlementRepository(database: database).settle(outcomes, on: database.shards[0])
            #expect(settled.stored.count == 2)
            let places = try await pool.query(
                """
                SELECT DISTINCT m.tableoid::regclass::text AS place,
                    'messages_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM_') AS month
                FROM messages m WHERE m.turn = $1
                """, [.turn(outcomes[0].turn)])
            let month: String = try #require(try places.first?.value("month"))
            #expect(try places.allSatisfy { try $0.value("place", as: String.self).hasPrefix(month) })
            let strays = try await pool.query(
                "SELECT turn FROM messages_default GROUP BY turn")
            #expect(try strays.map { try $0.value("turn", as: TurnID.self) } == [outcomes[1].turn])
        }
    }

    @Test func rowsThatCameBeforeTheirPartitionMoveIntoIt() async throws {
        try await withDatabase { database in
            let pool = database.directory
            let later = try #require(
                try await pool.query("SELECT now() + interval '7 months' AS t").first?.value(
                    "t", as: UnixMilliseconds.self
                ).value)
            let key = try ConversationKey.test()
            let outcome = TurnOutcome.test(0, in: key, acceptedAt: later)
            _ = try await SettlementRepository(database: database).settle([outcome], on: database.shards[0])
            #expect(try await pool.query("SELECT FROM messages_default").count == 2)

            let made = try #require(await Migrations.ensurePartitions(database, months: 8).first).result.get()
            #expect(made.count == 5)
            #expect(try await pool.query("SELECT FROM messages_default").isEmpty)
            let history = try await ConversationRepository(database: database).history(of: key, limit: 5)
            #expect(history.map(\.response) == [outcome.response])
            let again = try #require(await Migrations.ensurePartitions(database, months: 8).first).result.get()
            #expect(again.isEmpty)
        }
    }
}
