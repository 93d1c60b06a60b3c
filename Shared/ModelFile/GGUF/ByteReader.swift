/// A cursor over untrusted little-endian bytes. No read leaves the buffer and no arithmetic on what it read wraps.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    var remaining: Int { bytes.count - offset }

    /// The next integer. `field` is only made into a string when the read fails.
    mutating func integer<T: FixedWidthInteger>(
        _ type: T.Type = T.self, _ field: @autoclosure () -> String
    ) throws(ModelFileError) -> T {
        guard remaining >= MemoryLayout<T>.size else {
            throw error(field(), "needs \(MemoryLayout<T>.size) bytes, \(remaining) are left")
        }
        let value = T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
        offset += MemoryLayout<T>.size
        return value
    }

    /// The next length or count, which promises at least `elementSize` bytes for each element: checked against what the
    /// file still holds before anybody loops over it or reserves memory for it.
    mutating func count(elementSize: Int, _ field: @autoclosure () -> String) throws(ModelFileError) -> Int {
        let start = offset
        let value = try integer(UInt64.self, field())
        guard value <= UInt64(remaining / elementSize) else {
            throw ModelFileError(
                offset: UInt64(start), field: field(),
                reason: "\(value) elements of at least \(elementSize) bytes, but \(remaining) bytes are left")
        }
        return Int(value)
    }

    /// The range of the next `count` bytes, which it steps over.
    mutating func skip(_ count: Int, _ field: @autoclosure () -> String) throws(ModelFileError) -> Range<Int> {
        guard count >= 0, count <= remaining else {
            throw error(field(), "needs \(count) bytes, \(remaining) are left")
        }
        defer { offset += count }
        return offset..<offset + count
    }

    /// The range of the next string's bytes: a 64-bit length, then the bytes without a terminator.
    mutating func string(_ field: @autoclosure () -> String) throws(ModelFileError) -> Range<Int> {
        let count = try count(elementSize: 1, field() + " length")
        return try skip(count, field())
    }

    /// A name that we show to people and compare as a String: ASCII, so that Swift's canonical equality is equality of
    /// bytes, and so that an error message carries no control characters.
    mutating func name(limit: Int, _ field: @autoclosure () -> String) throws(ModelFileError) -> String {
        let start = offset
        let range = try string(field())
        guard (1...limit).contains(range.count) else {
            throw ModelFileError(
                offset: UInt64(start), field: field() + " length", reason: "\(range.count) is not in 1...\(limit)")
        }
        let slice = UnsafeRawBufferPointer(rebasing: bytes[range])
        guard slice.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw ModelFileError(
                offset: UInt64(range.lowerBound), field: field(), reason: "has bytes that are not printable ASCII")
        }
        return String(decoding: slice, as: UTF8.self)
    }

    func error(_ field: String, _ reason: String) -> ModelFileError {
        ModelFileError(offset: UInt64(offset), field: field, reason: reason)
    }
}
