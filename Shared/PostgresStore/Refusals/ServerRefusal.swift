/// What a server's refusal means for whoever asked. The table below is the one place that says so.
public enum ServerRefusal: Sendable, Equatable, CaseIterable {
    /// The whole server cannot work. Repeated with a pause; opens the shard's breaker.
    case away
    /// It does not let this service in. As `away`; the service is not ready besides, and says why.
    case credentials
    /// It answers, and takes no writes: a standby, or `default_transaction_read_only`. Repeated with a pause; opens the
    /// breaker of the shard's writes. The connection is given up, since the address may lead to another server by now.
    case readOnly
    /// It answers, and cannot carry out this now: no room on its disk, no right, no such table, and whatever the table
    /// does not name. Repeated with a pause; opens the breaker of what was asked, of writes or of everything.
    case unable
    /// Another transaction was in the way, and this one was rolled back. Tried again at once, then with a pause.
    case conflict
    /// The session does not know a prepared statement, or another's has its name: somebody shares the session, as a
    /// pooler in transaction mode lets several do. The pool goes over to statements without names.
    case unknownStatement
    /// The values can never be stored as they are. An answer, and no repetition mends it.
    case data

    /// Codes and classes (two characters) of SQLSTATE, Appendix A of PostgreSQL's manual. A code goes before its class.
    private static let table: [(meaning: ServerRefusal, codes: [String])] = [
        (
            .away,
            [
                "08",  // connection exceptions; a pooler says so of a server that it cannot reach
                "53200", "53300",  // out of memory, too many connections
                "57P01", "57P02", "57P03", "57P04", "57P05",  // ended, starting up, dropped, session idle
                "58", "XX", "F0",  // I/O errors and corruption outside and inside of PostgreSQL, its configuration
            ]
        ),
        (.credentials, ["28", "3D000"]),  // bad credentials, no such database
        (.readOnly, ["25006"]),
        (
            .unable,
            [
                "53",  // 53100 disk full, and the rest of the class
                "57",  // 57014: the statement's time was over, or an operator ended it
                "42", "3F", "0A",  // 42501 no right, 42P01 no such table: a schema of another version
            ]
        ),
        (.conflict, ["40", "55P03", "25P02"]),  // serialization, deadlock, a lock not to be had, a failed transaction
        (.unknownStatement, ["26000", "42P05"]),
        (.data, ["22", "23", "54"]),  // data exceptions, violated constraints, limits of the format
    ]

    private static let meanings: [String: ServerRefusal] = Dictionary(
        table.flatMap { row in row.codes.map { ($0, row.meaning) } }
    ) { first, _ in first }

    /// - Parameter sqlState: five characters. What the table does not name is an outage, so that nothing is given up for
    ///   a reason that nobody has thought of.
    public init(sqlState: String) {
        self = Self.meanings[sqlState] ?? Self.meanings[String(sqlState.prefix(2))] ?? .unable
    }
}

extension DatabaseError {
    /// What the server's refusal means; nil when it was not the server that spoke.
    public var refusal: ServerRefusal? { sqlState.map { ServerRefusal(sqlState: $0) } }

    /// Whether the server would not begin a session with these credentials, this database or this user's rights.
    var isEntryRefused: Bool {
        guard case .unavailable(_, _, let sqlState?) = self else { return false }
        // 42501: the user has no right to connect to the database.
        return ServerRefusal(sqlState: sqlState) == .credentials || sqlState == "42501"
    }

    /// Whether the server refused values, not the moment or the statement.
    var isDataRefused: Bool { refusal == .data }
}
