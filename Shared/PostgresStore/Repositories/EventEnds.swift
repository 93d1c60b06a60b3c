/// The form in which a turn's event ends are stored: for each token the bytes of text it added, as unsigned LEB128. That
/// is a byte a token almost always, where the ends themselves would take four.
enum EventEnds {
    /// - Parameter textBytes: the length of the text that the ends lie in.
    /// - Throws: `decoding` when the ends fall, are negative, or go beyond the text.
    static func encode(_ ends: [Int], textBytes: Int) throws(DatabaseError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ends.count)
        var last = 0
        for (index, end) in ends.enumerated() {
            guard end >= last, end <= textBytes else {
                throw .decoding(
                    column: "event_ends", reason: "end \(end) of token \(index) is not in \(last)...\(textBytes)")
            }
            var length = UInt(end - last)
            while length >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: length) | 0x80)
                length >>= 7
            }
            bytes.append(UInt8(length))
            last = end
        }
        return bytes
    }

    /// - Throws: `decoding` for bytes that `encode` would not have made of a text of that length.
    static func decode(_ bytes: [UInt8], textBytes: Int) throws(DatabaseError) -> [Int] {
        var ends: [Int] = []
        ends.reserveCapacity(bytes.count)
        var last = 0
        var length = 0
        var shift = 0
        for byte in bytes {
            guard shift < 35 else { throw .decoding(column: "event_ends", reason: "a length of more than 35 bits") }
            length |= Int(byte & 0x7F) << shift
            shift += 7
            guard byte & 0x80 == 0 else { continue }
            last += length
            ends.append(last)
            (length, shift) = (0, 0)
        }
        guard shift == 0 else { throw .decoding(column: "event_ends", reason: "ends within a length") }
        guard last <= textBytes else {
            throw .decoding(column: "event_ends", reason: "end \(last) lies behind the text of \(textBytes) bytes")
        }
        return ends
    }
}
