/// A row of an answer: values by column name, decoded when asked for.
public struct PostgresRow: Sendable {
    /// The columns, shared by all rows of an answer.
    final class Columns: Sendable {
        let names: [String]
        let types: [UInt32]

        init(names: [String], types: [UInt32]) {
            self.names = names
            self.types = types
        }
    }

    let columns: Columns
    let cells: [[UInt8]?]

    public var columnNames: [String] { columns.names }

    /// The value of a column that is never null.
    /// - Throws: `decoding` when the column is missing, null, or of another type.
    public func value<Value: PostgresDecodable>(
        _ column: String, as type: Value.Type = Value.self
    ) throws(DatabaseError) -> Value {
        guard let value = try optional(column, as: type) else {
            throw .decoding(column: column, reason: "null")
        }
        return value
    }

    /// The value of a column that may be null.
    /// - Throws: `decoding` when the column is missing or of another type.
    public func optional<Value: PostgresDecodable>(
        _ column: String, as type: Value.Type = Value.self
    ) throws(DatabaseError) -> Value? {
        guard let position = columns.names.firstIndex(of: column) else {
            throw .decoding(column: column, reason: "no such column")
        }
        guard let cell = cells[position] else { return nil }
        let oid = columns.types[position]
        guard let value = Value(postgresType: oid, bytes: cell) else {
            throw .decoding(column: column, reason: "type \(oid) of \(cell.count) bytes is no \(Value.self)")
        }
        return value
    }
}

/// A Swift type that reads PostgreSQL's binary form of one or more SQL types.
public protocol PostgresDecodable: Sendable {
    /// - Parameters:
    ///   - postgresType: the column's type, as an OID of `pg_type`.
    ///   - bytes: the value in its binary form, network byte order.
    /// - Returns: nil when the type or its bytes are not what this Swift type stands for.
    init?(postgresType: UInt32, bytes: [UInt8])
}
