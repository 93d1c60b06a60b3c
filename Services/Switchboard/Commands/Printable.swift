/// Text of others for the operator's terminal: without what a terminal would obey, or what would show a line otherwise than
/// it is written (the C0 and C1 controls, DEL, line separators, and format characters such as the bidirectional overrides).
enum Printable {
    /// - Parameter kept: controls that stay, such as the line feeds of a text with several lines.
    static func text(_ text: String, keeping kept: Set<Unicode.Scalar> = []) -> String {
        replacing(text, keeping: kept) { _ in "\u{FFFD}" }
    }

    /// JSON, in which everything that is to be replaced stands in strings: as escapes there, so that nothing is lost.
    static func json(_ text: String) -> String {
        replacing(text, keeping: ["\n", "\t"]) { scalar in
            scalar.utf16.map { unit in
                let digits = String(unit, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }.joined()
        }
    }

    private static func replacing(
        _ text: String, keeping kept: Set<Unicode.Scalar>, with replacement: (Unicode.Scalar) -> String
    ) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if isHarmless(scalar) || kept.contains(scalar) {
                result.unicodeScalars.append(scalar)
            } else {
                result += replacement(scalar)
            }
        }
        return result
    }

    private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: false
        case .format: scalar == "\u{200C}" || scalar == "\u{200D}"  // they join letters and emoji
        default: true
        }
    }
}
