import ChatCore
import PostgresStore

/// A turn as its shard has it.
struct StoredTurn: Sendable, Equatable {
    let shard: String
    let id: String
    let user: String
    let kind: String
    let status: String
    let finishReason: String
    let error: String
    let promptTokens: Int64
    let completionTokens: Int64
    let eventEnds: [UInt8]
    let attempts: Int64
    let message: String
    let response: String
    /// Rows in `messages`.
    let messages: Int64
}

/// A user's sums in `usage`.
struct StoredUsage: Sendable, Equatable {
    let user: String
    var turns: Int64
    var promptTokens: Int64
    var completionTokens: Int64
}

/// Everything that the shards have of the users whose names begin with a prefix.
struct StoredTurns: Sendable {
    let turns: [StoredTurn]
    let usage: [StoredUsage]

    init(turns: [StoredTurn], usage: [StoredUsage]) {
        self.turns = turns
        self.usage = usage
    }

    init(of prefix: String, in database: ShardedDatabase) async throws {
        var turns: [StoredTurn] = []
        var usage: [StoredUsage] = []
        for shard in database.shards {
            for row in try await shard.pool.query(Self.turnsOfUsers, [.text("\(prefix)-%")]) {
                turns.append(try StoredTurn(row, shard: shard.name))
            }
            for row in try await shard.pool.query(Self.usageOfUsers, [.text("\(prefix)-%")]) {
                usage.append(
                    StoredUsage(
                        user: try row.value("user_name"), turns: try row.value("turns"),
                        promptTokens: try row.value("prompt_tokens"),
                        completionTokens: try row.value("completion_tokens")))
            }
        }
        self.turns = turns
        self.usage = usage
    }

    private static let turnsOfUsers = """
        SELECT id, user_name, kind, status, finish_reason, coalesce(error, '') AS error, prompt_tokens,
            completion_tokens, event_ends, attempts,
            coalesce((SELECT content FROM messages WHERE turn = turns.id AND role = 'user'), '') AS message,
            coalesce((SELECT content FROM messages WHERE turn = turns.id AND role = 'assistant'), '') AS response,
            (SELECT count(*) FROM messages WHERE turn = turns.id) AS messages
        FROM turns WHERE user_name LIKE $1
        """

    private static let usageOfUsers = """
        SELECT user_name, sum(turns)::bigint AS turns, sum(prompt_tokens)::bigint AS prompt_tokens,
            sum(completion_tokens)::bigint AS completion_tokens
        FROM usage WHERE user_name LIKE $1 GROUP BY user_name
        """
}

extension StoredTurn {
    fileprivate init(_ row: PostgresRow, shard: String) throws {
        self.init(
            shard: shard, id: try row.value("id", as: TurnID.self).description, user: try row.value("user_name"),
            kind: try row.value("kind"), status: try row.value("status"), finishReason: try row.value("finish_reason"),
            error: try row.value("error"), promptTokens: try row.value("prompt_tokens"),
            completionTokens: try row.value("completion_tokens"), eventEnds: try row.value("event_ends"),
            attempts: try row.value("attempts"), message: try row.value("message"),
            response: try row.value("response"), messages: try row.value("messages"))
    }
}
