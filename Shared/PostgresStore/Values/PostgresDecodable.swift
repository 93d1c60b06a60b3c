import ChatCore

extension Bool: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: [UInt8]) {
        guard postgresType == PostgresType.boolean, bytes.count == 1 else { return nil }
        self = bytes[0] != 0
    }
}

extension Int64: PostgresDecodable {
    /// Any of PostgreSQL's integers. `numeric` is not one: cast it in the statement.
    public init?(postgresType: UInt32, bytes: [UInt8]) {
        switch (postgresType, bytes.count) {
        case (PostgresType.int8, 8): self = Int64(bitPattern: unsigned(bytes))
        case (PostgresType.int4, 4): self = Int64(Int32(truncatingIfNeeded: unsigned(bytes)))
        case (PostgresType.int2, 2): self = Int64(Int16(truncatingIfNeeded: unsigned(bytes)))
        case (PostgresType.oid, 4): self = Int64(unsigned(bytes))
        default: return nil
        }
    }
}

extension Double: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: [UInt8]) {
        switch (postgresType, bytes.count) {
        case (PostgresType.float8, 8): self.init(bitPattern: unsigned(bytes))
        case (PostgresType.float4, 4): self.init(Float(bitPattern: UInt32(truncatingIfNeeded: unsigned(bytes))))
        default: return nil
        }
    }
}

extension String: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: [UInt8]) {
        switch postgresType {
        case PostgresType.text, PostgresType.varchar, PostgresType.bpchar, PostgresType.name:
            // The session's encoding is UTF-8, so invalid bytes mean that something is badly wrong.
            guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
            self = text
        default: return nil
        }
    }
}

extension Array: PostgresDecodable where Element == UInt8 {
    public init?(postgresType: UInt32, bytes: [UInt8]) {
        guard postgresType == PostgresType.bytea else { return nil }
        self = bytes
    }
}

extension TurnID: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: [UInt8]) {
        guard postgresType == PostgresType.uuid, bytes.count == 16 else { return nil }
        let halves = (unsigned(bytes[..<8]), unsigned(bytes[8...]))
        // By way of its text: that initialiser is the one that checks version and variant.
        let digits = [halves.0, halves.1].map { half in
            let text = String(half, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
        var canonical = ""
        for (position, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(position) { canonical.append("-") }
            canonical.append(digit)
        }
        self.init(canonical)
    }
}

/// A `timestamptz` as Unix milliseconds; microseconds are rounded down.
public struct UnixMilliseconds: PostgresDecodable, Hashable {
    public let value: Int64

    public init?(postgresType: UInt32, bytes: [UInt8]) {
        guard postgresType == PostgresType.timestamptz, bytes.count == 8 else { return nil }
        let microseconds = Int64(bitPattern: unsigned(bytes))
        guard microseconds != .min, microseconds != .max else { return nil }  // the infinities
        let milliseconds = microseconds / 1000 - (microseconds % 1000 < 0 ? 1 : 0)
        value = milliseconds + PostgresType.epochMilliseconds
    }
}

/// Network byte order, at most eight bytes.
private func unsigned(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
}
