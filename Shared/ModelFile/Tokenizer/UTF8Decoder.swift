/// Decodes UTF-8 that comes in pieces. A scalar that is cut waits for its rest; bytes that can be none become U+FFFD, one
/// for each maximal subpart (Unicode Standard, section 3.9), as when the whole is decoded at once.
struct UTF8Decoder: Sendable {
    /// The begin of a scalar whose rest has not come; at most three bytes.
    private var incomplete: [UInt8] = []

    mutating func append(_ bytes: some Sequence<UInt8>) -> String {
        var all = incomplete
        all.append(contentsOf: bytes)
        let whole = all.count - Self.incompleteSuffix(all)
        incomplete = Array(all[whole...])
        return String(decoding: all[..<whole], as: UTF8.self)
    }

    mutating func finish() -> String {
        defer { incomplete = [] }
        return String(decoding: incomplete, as: UTF8.self)
    }

    /// How many bytes at the end are a proper prefix of some scalar.
    private static func incompleteSuffix(_ bytes: [UInt8]) -> Int {
        for count in stride(from: min(3, bytes.count), through: 1, by: -1) {
            let start = bytes.count - count
            let length: Int
            // The second byte is limited further where the first alone would allow overlong forms, surrogates or
            // values above U+10FFFF (Unicode Standard, table 3-7).
            let second: ClosedRange<UInt8>
            switch bytes[start] {
            case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
            case 0xE0: (length, second) = (3, 0xA0...0xBF)
            case 0xED: (length, second) = (3, 0x80...0x9F)
            case 0xE1...0xEF: (length, second) = (3, 0x80...0xBF)
            case 0xF0: (length, second) = (4, 0x90...0xBF)
            case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
            case 0xF4: (length, second) = (4, 0x80...0x8F)
            default: continue
            }
            guard count < length else { continue }
            if count > 1, !second.contains(bytes[start + 1]) { continue }
            if count > 2, bytes[start + 2] & 0xC0 != 0x80 { continue }
            return count
        }
        return 0
    }
}
