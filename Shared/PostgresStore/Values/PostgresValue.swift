import ChatCore

/// A value bound to a parameter of a statement ($1, $2, …): it travels beside the SQL, in PostgreSQL's binary form, and
/// is never part of the SQL's text. Each case is one SQL type, so that a null has a type as well.
public enum PostgresValue: Sendable, Equatable {
    case boolean(Bool?)
    /// `bigint`
    case integer(Int64?)
    /// `double precision`
    case double(Double?)
    /// `text`; PostgreSQL refuses U+0000 (SQLSTATE 22021).
    case text(String?)
    /// `bytea`
    case bytes([UInt8]?)
    /// `uuid`
    case turn(TurnID?)
    /// `timestamptz`, from Unix milliseconds
    case timestamp(Int64?)

    case booleans([Bool])
    case integers([Int64?])
    case texts([String?])
    case byteStrings([[UInt8]?])
    case turns([TurnID])
    case timestamps([Int64?])
}
