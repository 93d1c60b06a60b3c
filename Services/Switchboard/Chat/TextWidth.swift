/// How many columns text takes in a terminal, and what of it may go there.
enum TextWidth {
    static func of(_ character: Character) -> Int {
        // What follows the first scalar (combining marks, joiners, the rest of an emoji) goes onto its place.
        guard let first = character.unicodeScalars.first else { return 0 }
        if first.value < 0x300 { return first.value < 0x20 ? 0 : 1 }
        switch first.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format, .control: return 0
        default:
            // An emoji may also be a plain sign with the selector for its picture behind it.
            let isPicture = first.properties.isEmojiPresentation || character.unicodeScalars.contains("\u{FE0F}")
            return isPicture || wide.contains { $0.contains(first.value) } ? 2 : 1
        }
    }

    /// Scripts whose characters take two columns (East Asian Width W and F of Unicode, in blocks).
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
        0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6,
        0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD,
    ]

    static func of(_ text: some StringProtocol) -> Int { text.reduce(0) { $0 + of($1) } }

    /// As much of the text as fits.
    static func cut(_ text: String, to columns: Int) -> String {
        guard of(text) > columns else { return text }
        var used = 1
        return text.prefix { character in
            used += of(character)
            return used <= columns
        } + (columns > 0 ? "…" : "")
    }

    /// Without anything that a terminal would obey: a model's text, or a server's, is not to move cursors or set titles.
    static func harmless(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.filter { scalar in
                    switch scalar.value {
                    case 0x09, 0x0A: true
                    case ..<0x20, 0x7F..<0xA0: false
                    default: true
                    }
                }))
    }
}
