/// What the patterns of pre-tokenizers ask of a scalar: `\p{L}`, `\p{N}`, `\s`, or none of them.
enum ScalarKind {
    case letter, number, whitespace, other
    /// Beyond the last scalar.
    case end
}

/// Valid UTF-8 read scalar by scalar at byte positions, each with its kind.
struct ClassifiedText {
    let bytes: UnsafeRawBufferPointer
    /// Byte position where the text ends for a pattern, at most `bytes.count`.
    let end: Int

    struct Scalar {
        let value: UInt32
        /// Bytes.
        let length: Int
        let kind: ScalarKind
    }

    /// The scalar that starts at `position`.
    subscript(position: Int) -> Scalar {
        guard position < end else { return Scalar(value: .max, length: 0, kind: .end) }
        let first = bytes[position]
        if first < 0x80 { return Scalar(value: UInt32(first), length: 1, kind: Self.kind(ascii: first)) }
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        var value = UInt32(first) & (length == 2 ? 0x1F : length == 3 ? 0x0F : 0x07)
        // Valid UTF-8 by contract; the min is for the reader who wonders.
        for index in position + 1..<min(position + length, end) {
            value = value << 6 | UInt32(bytes[index] & 0x3F)
        }
        return Scalar(value: value, length: min(length, end - position), kind: Self.kind(value))
    }

    private static func kind(ascii byte: UInt8) -> ScalarKind {
        switch byte {
        case 0x41...0x5A, 0x61...0x7A: .letter
        case 0x30...0x39: .number
        case 0x09...0x0D, 0x20: .whitespace
        default: .other
        }
    }

    private static func kind(_ value: UInt32) -> ScalarKind {
        guard let scalar = Unicode.Scalar(value) else { return .other }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return .letter
        case .decimalNumber, .letterNumber, .otherNumber: return .number
        default: return scalar.properties.isWhitespace ? .whitespace : .other
        }
    }
}
