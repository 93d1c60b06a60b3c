/// A turn's name everywhere: a UUID version 7 (RFC 9562), so that ids sort by the time they were given out.
/// The API calls it `correlation_id`.
public struct TurnID: Hashable, Sendable, Comparable {
    /// The UUID's first and last eight bytes, big-endian.
    public let high: UInt64
    public let low: UInt64

    /// - Parameter milliseconds: Unix time; only its low 48 bits are kept, as the RFC lays out.
    public init(milliseconds: UInt64, using random: inout some RandomNumberGenerator) {
        let bits = UInt64.random(in: .min ... .max, using: &random)
        high = (milliseconds & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | (bits & 0xFFF)
        low = UInt64.random(in: .min ... .max, using: &random) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    }

    /// The id with these halves, if they are a version 7 UUID's.
    public init?(high: UInt64, low: UInt64) {
        guard high >> 12 & 0xF == 7, low >> 62 == 0b10 else { return nil }
        self.high = high
        self.low = low
    }

    /// Unix time in milliseconds at which the id was made.
    public var milliseconds: UInt64 { high >> 16 }

    public static func < (left: TurnID, right: TurnID) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

extension TurnID: LosslessStringConvertible {
    /// Reads the canonical form (36 characters, lower or upper case) of a version 7 UUID and nothing else.
    public init?(_ text: String) {
        var digits: (UInt64, UInt64) = (0, 0)
        var count = 0
        let utf8 = text.utf8
        guard utf8.count == 36 else { return nil }
        for (position, byte) in utf8.enumerated() {
            if [8, 13, 18, 23].contains(position) {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = TurnID.value(ofHexDigit: byte) else { return nil }
            if count < 16 { digits.0 = digits.0 << 4 | digit } else { digits.1 = digits.1 << 4 | digit }
            count += 1
        }
        self.init(high: digits.0, low: digits.1)
    }

    public var description: String {
        var text = ""
        text.reserveCapacity(36)
        for nibble in 0..<32 {
            if [8, 12, 16, 20].contains(nibble) { text.append("-") }
            let half = nibble < 16 ? high : low
            let digit = half >> UInt64(60 - nibble % 16 * 4) & 0xF
            text.unicodeScalars.append(Unicode.Scalar(UInt8(digit < 10 ? 48 + digit : 87 + digit)))
        }
        return text
    }

    private static func value(ofHexDigit byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}

extension TurnID: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let id = TurnID(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a version 7 UUID")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
