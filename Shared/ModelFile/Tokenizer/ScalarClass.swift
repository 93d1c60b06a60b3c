/// The general categories of scalars that the patterns of pre-tokenizers name, as sets.
struct ScalarClass: OptionSet {
    let rawValue: UInt16

    /// Lu and Lt.
    static let upper = ScalarClass(rawValue: 1)
    /// Ll.
    static let lower = ScalarClass(rawValue: 2)
    /// Lm and Lo.
    static let uncased = ScalarClass(rawValue: 4)
    static let mark = ScalarClass(rawValue: 8)
    static let number = ScalarClass(rawValue: 16)
    static let punctuation = ScalarClass(rawValue: 32)
    static let symbol = ScalarClass(rawValue: 64)
    /// `\s`: the property White_Space.
    static let whitespace = ScalarClass(rawValue: 128)
    /// Controls, formats, private use, what is not assigned.
    static let other = ScalarClass(rawValue: 256)
    /// Beyond the last scalar.
    static let end = ScalarClass(rawValue: 512)

    static let letter: ScalarClass = [.upper, .lower, .uncased]
    /// `[^\s\p{L}\p{N}]`
    static let neither: ScalarClass = [.mark, .punctuation, .symbol, .other]

    static func of(ascii byte: UInt8) -> ScalarClass {
        switch byte {
        case 0x41...0x5A: .upper
        case 0x61...0x7A: .lower
        case 0x30...0x39: .number
        case 0x09...0x0D, 0x20: .whitespace
        case 0x24, 0x2B, 0x3C...0x3E, 0x5E, 0x60, 0x7C, 0x7E: .symbol
        case 0x21...0x7E: .punctuation
        default: .other
        }
    }

    /// Of the scalars below U+10000. The standard library searches for each, which takes some 80 ns: a third of the time that a
    /// text of Chinese takes to be tokenized.
    private static let basic = (0..<0x10000 as Range<UInt32>).map(lookUp)

    static func of(_ value: UInt32) -> ScalarClass {
        value < 0x10000 ? basic[Int(value)] : lookUp(value)
    }

    private static func lookUp(_ value: UInt32) -> ScalarClass {
        guard let scalar = Unicode.Scalar(value) else { return .other }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .titlecaseLetter: return .upper
        case .lowercaseLetter: return .lower
        case .modifierLetter, .otherLetter: return .uncased
        case .nonspacingMark, .spacingMark, .enclosingMark: return .mark
        case .decimalNumber, .letterNumber, .otherNumber: return .number
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return .punctuation
        case .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol: return .symbol
        default: return scalar.properties.isWhitespace ? .whitespace : .other
        }
    }
}
