/// A value of a GGUF file's metadata. Strings and arrays stay in the file as checked ranges, so that a vocabulary of
/// megabytes costs nothing until somebody reads it, and then in the form that the reader chooses.
public enum MetadataValue: Sendable, Equatable {
    case unsigned(UInt64)
    case signed(Int64)
    case float(Double)
    case bool(Bool)
    /// Byte range of the string in the file. Not checked to be UTF-8.
    case string(Range<Int>)
    case array(MetadataArray)
}

/// An array of a GGUF file's metadata: all its bytes are known to be inside the file.
public struct MetadataArray: Sendable, Equatable {
    public let elementType: MetadataType
    public let count: Int
    /// Byte range of the elements in the file, after the count.
    public let bytes: Range<Int>
}

/// The type ids of GGUF metadata (gguf.md, `gguf_metadata_value_type`).
public enum MetadataType: UInt32, Sendable {
    case uint8 = 0, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

    /// Bytes of a value in the file; for strings and arrays the least they can take (their lengths).
    var leastSize: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .string, .uint64, .int64, .float64: 8
        case .array: 12
        }
    }
}

extension ByteReader {
    /// Arrays of arrays deeper than this are refused: no file has them, and recursion on hostile input needs a bound.
    private static var nestingLimit: Int { 4 }

    mutating func metadataType(_ field: @autoclosure () -> String) throws(ModelFileError) -> MetadataType {
        let start = offset
        let id = try integer(UInt32.self, field() + " type")
        guard let type = MetadataType(rawValue: id) else {
            throw ModelFileError(
                offset: UInt64(start), field: field() + " type", reason: "\(id) is no GGUF metadata type")
        }
        return type
    }

    mutating func metadataValue(
        _ type: MetadataType, _ field: @autoclosure () -> String
    ) throws(ModelFileError) -> MetadataValue {
        switch type {
        case .uint8: .unsigned(UInt64(try integer(UInt8.self, field())))
        case .uint16: .unsigned(UInt64(try integer(UInt16.self, field())))
        case .uint32: .unsigned(UInt64(try integer(UInt32.self, field())))
        case .uint64: .unsigned(try integer(UInt64.self, field()))
        case .int8: .signed(Int64(try integer(Int8.self, field())))
        case .int16: .signed(Int64(try integer(Int16.self, field())))
        case .int32: .signed(Int64(try integer(Int32.self, field())))
        case .int64: .signed(try integer(Int64.self, field()))
        case .float32: .float(Double(Float(bitPattern: try integer(UInt32.self, field()))))
        case .float64: .float(Double(bitPattern: try integer(UInt64.self, field())))
        case .bool: .bool(try boolean(field()))
        case .string: .string(try string(field()))
        case .array: .array(try array(depth: 1, field()))
        }
    }

    private mutating func boolean(_ field: @autoclosure () -> String) throws(ModelFileError) -> Bool {
        let start = offset
        let value = try integer(UInt8.self, field())
        guard value <= 1 else {
            throw ModelFileError(offset: UInt64(start), field: field(), reason: "\(value) is not a boolean (0 or 1)")
        }
        return value == 1
    }

    private mutating func array(
        depth: Int, _ field: @autoclosure () -> String
    ) throws(ModelFileError) -> MetadataArray {
        guard depth <= Self.nestingLimit else {
            throw error(field(), "arrays are nested more than \(Self.nestingLimit) deep")
        }
        let elementType = try metadataType(field() + " element")
        let count = try count(elementSize: elementType.leastSize, field() + " count")
        let start = offset
        switch elementType {
        case .string:
            for index in 0..<count { _ = try string("\(field())[\(index)]") }
        case .array:
            for index in 0..<count { _ = try array(depth: depth + 1, "\(field())[\(index)]") }
        case .bool:
            for index in 0..<count { _ = try boolean("\(field())[\(index)]") }
        default:
            // `count` has checked that this many elements are there, so the product is below the file's size.
            _ = try skip(count * elementType.leastSize, field())
        }
        return MetadataArray(elementType: elementType, count: count, bytes: start..<offset)
    }
}
