import Crypto

/// SHA-256 over fields, each behind its length, so that no two lists of fields give the same bytes.
public struct FieldDigest {
    private var hash = SHA256()

    public init() {}

    public mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            add(UInt64(bytes.count))
            hash.update(bufferPointer: UnsafeRawBufferPointer(bytes))
        }
    }

    public mutating func add(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: UInt64(truncatingIfNeeded: number).littleEndian) { hash.update(bufferPointer: $0) }
    }

    public mutating func add(_ numbers: [Int32]) {
        add(numbers.count)
        for number in numbers { add(number) }
    }

    /// 32 bytes.
    public func finalized() -> [UInt8] { Array(hash.finalize()) }

    /// 64 lowercase hexadecimal digits.
    public func hexadecimal() -> String {
        finalized().map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}
