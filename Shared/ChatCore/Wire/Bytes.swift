/// A message between services that is not what it should be; names the field that was found wrong.
public struct WireError: Error, Equatable, CustomStringConvertible {
    public let field: String

    @inlinable
    public init(field: String) { self.field = field }

    public var description: String { "malformed message at field \(field)" }
}

/// Appends numbers in little-endian order and texts with their length before them. Inlinable, as the reader is: it is generic,
/// and what it writes of each token is written in other modules too.
public struct ByteWriter {
    public var bytes: [UInt8] = []

    @inlinable
    public init() {}

    @inlinable
    public mutating func put(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    }

    @inlinable
    public mutating func put(text: String) {
        put(UInt32(clamping: text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }
}

/// Reads what `ByteWriter` wrote; every read is checked against what is left.
public struct ByteReader {
    @usableFromInline let bytes: [UInt8]
    @usableFromInline var position = 0

    @inlinable
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    @inlinable
    public var isAtEnd: Bool { position == bytes.count }

    @inlinable
    public mutating func get<Number: FixedWidthInteger>(_: Number.Type, _ field: String) throws(WireError) -> Number {
        let size = MemoryLayout<Number>.size
        guard bytes.count - position >= size else { throw WireError(field: field) }
        let number = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: position, as: Number.self) }
        position += size
        return Number(littleEndian: number)
    }

    @inlinable
    public mutating func getText(_ field: String) throws(WireError) -> String {
        let count = Int(try get(UInt32.self, field))
        guard bytes.count - position >= count else { throw WireError(field: field) }
        defer { position += count }
        guard let text = String(validating: bytes[position..<position + count], as: UTF8.self) else {
            throw WireError(field: field)
        }
        return text
    }
}
