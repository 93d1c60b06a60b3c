import ChatCore
import Logging
import PostgresStore
import SeededRandom
import TestServers
import Testing

/// Fresh databases on the shared server, as shards; closed when `body` returns.
func withDatabase<R>(
    shards: Int = 1, migrated: Bool = true, poolSize: Int = 4,
    configure: (inout DatabaseConfiguration) -> Void = { _ in }, _ body: (ShardedDatabase) async throws -> R
) async throws -> R {
    let uris = try await TestServers.postgres().freshDatabases(count: shards)
    return try await withDatabase(uris: uris, migrated: migrated, poolSize: poolSize, configure: configure, body)
}

func withDatabase<R>(
    uris: [String], migrated: Bool = true, poolSize: Int = 4,
    configure: (inout DatabaseConfiguration) -> Void = { _ in }, _ body: (ShardedDatabase) async throws -> R
) async throws -> R {
    let database = try openDatabase(uris, poolSize: poolSize, configure: configure)
    do {
        if migrated { try await Migrations.migrate(database) }
        let result = try await body(database)
        await database.close()
        return result
    } catch {
        await database.close()
        throw error
    }
}

func openDatabase(
    _ uris: [String], poolSize: Int = 4, configure: (inout DatabaseConfiguration) -> Void = { _ in }
) throws -> ShardedDatabase {
    var configuration = try DatabaseConfiguration(shards: uris.joined(separator: ","), poolSize: poolSize)
    // Patience for a machine that is busy; the tests of time-outs set their own.
    configuration.connectTimeout = .seconds(30)
    configuration.acquireTimeout = .seconds(30)
    configure(&configuration)
    return try ShardedDatabase(configuration: configuration, logger: quiet)
}

/// Tests provoke failures; their warnings are no news.
let quiet: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}()

/// Tries again until the condition holds; the time limit of the test ends a wait in vain.
func eventually(_ condition: () async throws -> Bool) async throws {
    while try await !condition() { try await Task.sleep(for: .milliseconds(10)) }
}

/// The error of a call that has to fail with a `DatabaseError`.
func failure(
    _ body: () async throws -> some Any, at location: SourceLocation = #_sourceLocation
) async -> DatabaseError? {
    do {
        _ = try await body()
        Issue.record("the call succeeded", sourceLocation: location)
        return nil
    } catch {
        if !(error is DatabaseError) { Issue.record("\(error)", sourceLocation: location) }
        return error as? DatabaseError
    }
}

/// The error of a call that may also succeed.
func failureIfAny(_ body: () async throws -> some Any) async -> DatabaseError? {
    do { _ = try await body() } catch { return error as? DatabaseError }
    return nil
}

/// 2026-11-21T00:00:00Z, when the test turns were accepted unless they say otherwise.
let testEpoch: Int64 = 1_795_219_200_000

extension TurnID {
    /// A different one for each number.
    static func test(_ number: Int) -> TurnID {
        var random = SeededGenerator(seed: UInt64(number))
        return TurnID(milliseconds: UInt64(testEpoch) + UInt64(number), using: &random)
    }
}

extension ConversationKey {
    static func test(tenant: String = "acme", user: String = "ada", _ id: Int64 = 42) throws -> ConversationKey {
        ConversationKey(owner: UserKey(tenant: tenant, user: user), id: try #require(ConversationID(id)))
    }
}

extension ConversationRepository {
    /// Where the bound of bytes is not what is tested.
    func history(of conversation: ConversationKey, limit: Int) async throws(DatabaseError) -> [HistoryTurn] {
        try await history(of: conversation, limit: limit, maximumBytes: 1 << 20)
    }
}

extension TurnOutcome {
    /// The `number`-th turn of a conversation, accepted that many seconds after the epoch.
    static func test(
        _ number: Int, in conversation: ConversationKey, status: Status = .done, error: String? = nil,
        system: String? = nil, message: String? = nil, response: String = "Grüße 👋", eventEnds: [Int]? = nil,
        promptTokens: Int = 7, seed: UInt64 = 1, acceptedAt: Int64? = nil, sequence: Int64? = nil
    ) -> TurnOutcome {
        let accepted = acceptedAt ?? testEpoch + Int64(number) * 1000
        return TurnOutcome(
            turn: .test(number), conversation: conversation, beginsConversation: number == 0, kind: .stream,
            status: status, finishReason: status == .done ? .stop : .error, error: error, system: system,
            message: message ?? "message \(number)", response: response,
            eventEnds: eventEnds ?? [0, 2, 2, response.utf8.count],
            usage: Usage(promptTokens: promptTokens, completionTokens: 4),
            model: "smollm2-135m", seed: seed, acceptedAt: accepted, firstTokenAt: accepted + 25,
            endedAt: accepted + 300, attempts: 1, sequence: sequence)
    }
}
