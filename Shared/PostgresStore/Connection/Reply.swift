import CLibpq

/// What the server said to one exchange: rows and command tag of the last statement, or its error.
struct Reply {
    var rows: [PostgresRow] = []
    /// As the server words it: `INSERT 0 3`, `COMMIT`, …
    var tag = ""
    /// The first error; statements after it were not carried out.
    var error: DatabaseError?
    /// The server began a COPY, which nothing here speaks; only closing the session ends it.
    var isCopy = false

    /// Takes one result in; the caller still owns (and clears) it.
    mutating func take(_ result: OpaquePointer, shard: String) {
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK:
            rows = Reply.rows(of: result)
            tag = String(cString: PQcmdStatus(result))
        case PGRES_COMMAND_OK:
            rows = []
            tag = String(cString: PQcmdStatus(result))
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
            isCopy = true
        case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE:
            if error == nil { error = Reply.error(of: result, shard: shard) }
        default:
            break  // an empty statement
        }
    }

    private static func rows(of result: OpaquePointer) -> [PostgresRow] {
        let columnCount = PQnfields(result)
        let columns = PostgresRow.Columns(
            names: (0..<columnCount).map { String(cString: PQfname(result, $0)) },
            types: (0..<columnCount).map { PQftype(result, $0) })
        return (0..<PQntuples(result)).map { row in
            let cells = (0..<columnCount).map { column -> [UInt8]? in
                guard PQgetisnull(result, row, column) == 0 else { return nil }
                let length = Int(PQgetlength(result, row, column))
                return Array(UnsafeRawBufferPointer(start: PQgetvalue(result, row, column), count: length))
            }
            return PostgresRow(columns: columns, cells: cells)
        }
    }

    private static func error(of result: OpaquePointer, shard: String) -> DatabaseError {
        func field(_ code: Unicode.Scalar) -> String? {
            PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
        }
        // The codes are PG_DIAG_SQLSTATE, _MESSAGE_PRIMARY and _CONSTRAINT_NAME. Detail and context are left out: they
        // quote the row's values, which are people's conversations. No SQLSTATE: libpq itself speaks, of a lost server.
        guard let sqlState = field("C") else { return .connectionLost(shard: shard) }
        return .server(sqlState: sqlState, message: field("M") ?? "no message", constraint: field("n"))
    }
}
