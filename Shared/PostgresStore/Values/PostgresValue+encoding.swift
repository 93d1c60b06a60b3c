import ChatCore

extension PostgresValue {
    /// The OID of the parameter's type.
    var type: UInt32 {
        switch self {
        case .boolean: PostgresType.boolean
        case .integer: PostgresType.int8
        case .double: PostgresType.float8
        case .text: PostgresType.text
        case .bytes: PostgresType.bytea
        case .turn: PostgresType.uuid
        case .timestamp: PostgresType.timestamptz
        case .booleans: PostgresType.booleanArray
        case .integers: PostgresType.int8Array
        case .texts: PostgresType.textArray
        case .byteStrings: PostgresType.byteaArray
        case .turns: PostgresType.uuidArray
        case .timestamps: PostgresType.timestamptzArray
        }
    }

    /// The binary form, in network byte order; nil for null.
    var encoded: [UInt8]? {
        switch self {
        case .boolean(let value): value.map(Binary.boolean)
        case .integer(let value): value.map(Binary.integer)
        case .double(let value): value.map { Binary.integer(Int64(bitPattern: $0.bitPattern)) }
        case .text(let value): value.map { Array($0.utf8) }
        case .bytes(let value): value
        case .turn(let value): value.map(Binary.turn)
        case .timestamp(let value): value.map(Binary.timestamp)
        case .booleans(let values): Binary.array(values.map(Binary.boolean), of: PostgresType.boolean)
        case .integers(let values): Binary.array(values.map { $0.map(Binary.integer) }, of: PostgresType.int8)
        case .texts(let values): Binary.array(values.map { $0.map { Array($0.utf8) } }, of: PostgresType.text)
        case .byteStrings(let values): Binary.array(values, of: PostgresType.bytea)
        case .turns(let values): Binary.array(values.map(Binary.turn), of: PostgresType.uuid)
        case .timestamps(let values):
            Binary.array(values.map { $0.map(Binary.timestamp) }, of: PostgresType.timestamptz)
        }
    }
}

private enum Binary {
    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    static func boolean(_ value: Bool) -> [UInt8] { [value ? 1 : 0] }
    static func integer(_ value: Int64) -> [UInt8] { bytes(value) }
    static func turn(_ value: TurnID) -> [UInt8] { bytes(value.high) + bytes(value.low) }

    /// Microseconds since 2000; times too far for the type become its infinities, which a column's check can refuse.
    static func timestamp(_ milliseconds: Int64) -> [UInt8] {
        let (sinceEpoch, overflow) = milliseconds.subtractingReportingOverflow(PostgresType.epochMilliseconds)
        let (microseconds, overflows) = sinceEpoch.multipliedReportingOverflow(by: 1000)
        guard !overflow, !overflows else { return bytes(milliseconds < 0 ? Int64.min : Int64.max) }
        return bytes(microseconds)
    }

    /// array_send's form: dimensions, has-nulls flag, element type, then length and lower bound of the one dimension,
    /// then each element with its length, -1 for null.
    static func array(_ elements: [[UInt8]?], of type: UInt32) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(20 + elements.reduce(0) { $0 + 4 + ($1?.count ?? 0) })
        result += bytes(Int32(elements.isEmpty ? 0 : 1))
        result += bytes(Int32(elements.contains { $0 == nil } ? 1 : 0))
        result += bytes(type)
        guard !elements.isEmpty else { return result }
        result += bytes(Int32(clamping: elements.count))
        result += bytes(Int32(1))
        for element in elements {
            guard let element else {
                result += bytes(Int32(-1))
                continue
            }
            result += bytes(Int32(clamping: element.count))
            result += element
        }
        return result
    }
}
