import ChatCore

/// A reply of the Redis protocol (RESP2, https://redis.io/docs/reference/protocol-spec).
public enum RedisValue: Sendable, Equatable {
    case null
    case integer(Int64)
    case string([UInt8])
    case status(String)
    case array([RedisValue])
    /// Only inside an array or a pipeline's result; a single command's error is thrown.
    case error(String)

    public var isNull: Bool { self == .null }

    /// The bytes of a string or a status; nil for everything else.
    public var data: [UInt8]? {
        switch self {
        case .string(let bytes): bytes
        case .status(let text): Array(text.utf8)
        default: nil
        }
    }

    /// The text of a string or a status; nil for everything else and for bytes that are not UTF-8.
    public var text: String? {
        switch self {
        case .string(let bytes): String(validating: bytes, as: UTF8.self)
        case .status(let text): text
        default: nil
        }
    }

    /// The number of an integer reply, or the one that a string spells in decimal.
    public var int: Int64? {
        if case .integer(let number) = self { return number }
        return text.flatMap { Int64($0) }
    }

    /// The same, when it can be a number of things.
    public var count: Int? { int.flatMap { Int(exactly: $0) }.flatMap { WireBounds.counts.contains($0) ? $0 : nil } }

    /// The same, when it can be a Unix time in milliseconds.
    public var time: Int64? { int.flatMap { WireBounds.times.contains($0) ? $0 : nil } }

    public var array: [RedisValue]? {
        if case .array(let values) = self { return values }
        return nil
    }
}

extension RedisValue {
    /// For errors: enough to recognise the reply by, never the whole of a large one.
    var summary: String {
        switch self {
        case .null: "null"
        case .integer(let number): "integer \(number)"
        case .string(let bytes): "string of \(bytes.count) bytes"
        case .status(let text): "status \(text.prefix(60))"
        case .array(let values): "array of \(values.count)"
        case .error(let text): "error \(text.prefix(200))"
        }
    }
}
