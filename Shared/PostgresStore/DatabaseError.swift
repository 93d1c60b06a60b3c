/// Why an operation on a database failed. No case carries a password; a server's details, which quote whole rows, are
/// left out.
public enum DatabaseError: Error, Sendable, Equatable {
    /// A setting or a call that can never work; the text names the setting or the field.
    case badConfiguration(String)
    /// No connection could be had; nothing was sent. The SQLSTATE is the server's, when it was the server that would not
    /// begin a session; it says nothing about any statement.
    case unavailable(shard: String, reason: String, sqlState: String? = nil)
    /// The connection broke after the statement was sent: it may or may not have been carried out.
    case connectionLost(shard: String)
    /// The server gave no answer in time: the statement may or may not have been carried out.
    case timedOut(shard: String)
    /// The bound on waiting callers, or the wait for a free connection, was reached; nothing was sent.
    case overloaded(shard: String)
    /// The caller's task was cancelled: what was sent may or may not have been carried out.
    case cancelled
    /// The server refused: its SQLSTATE (five characters; Appendix A of PostgreSQL's manual), its primary message, and
    /// the constraint's name when one was violated.
    case server(sqlState: String, message: String, constraint: String?)
    /// A column of an answer, or a field of a value to be stored, is not what it should be.
    case decoding(column: String, reason: String)
    /// The schema's recorded history contradicts this program's.
    case migration(String)
}

extension DatabaseError {
    /// Whether the same call may succeed later: the data, the program and the settings are not what failed.
    public var isTransient: Bool {
        switch self {
        case .unavailable, .connectionLost, .timedOut, .overloaded: true
        case .badConfiguration, .cancelled, .decoding, .migration: false
        case .server(let sqlState, _, _): ServerRefusal(sqlState: sqlState) != .data
        }
    }

    /// Whether the statement may have taken effect although the call failed.
    public var mayHaveBeenCarriedOut: Bool {
        switch self {
        case .connectionLost, .timedOut, .cancelled: true
        case .badConfiguration, .unavailable, .overloaded, .server, .decoding, .migration: false
        }
    }

    /// The SQLSTATE of a server's refusal of a statement.
    public var sqlState: String? {
        if case .server(let sqlState, _, _) = self { sqlState } else { nil }
    }
}

extension DatabaseError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .badConfiguration(let reason): reason
        case .unavailable(let shard, let reason, _): "database \(shard) is unavailable: \(reason)"
        case .connectionLost(let shard): "the connection to database \(shard) broke during a statement"
        case .timedOut(let shard): "database \(shard) did not answer in time"
        case .overloaded(let shard): "too many callers wait for database \(shard)"
        case .cancelled: "the caller was cancelled"
        case .server(let sqlState, let message, let constraint):
            "\(message) (SQLSTATE \(sqlState)\(constraint.map { ", constraint \($0)" } ?? ""))"
        case .decoding(let column, let reason): "\(column): \(reason)"
        case .migration(let reason): "schema: \(reason)"
        }
    }
}
