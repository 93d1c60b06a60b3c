extension SplitPattern {
    /// The matcher of a regular expression that a tokenizer.json splits by; nil for one that is not known. Expressions
    /// that differ only in how they are written are taken for the same.
    init?(regex: String) {
        guard let known = Self.known[Self.canonical(regex)] else { return nil }
        self = known
    }

    private static func canonical(_ regex: String) -> [UInt8] {
        // By bytes first: CR LF is one Character.
        var text = String(
            decoding: regex.utf8.flatMap { $0 == 0x0D ? [0x5C, 0x72] : $0 == 0x0A ? [0x5C, 0x6E] : [$0] }, as: UTF8.self
        )
        for (spelling, usual) in [
            // What is given up in backtracking could not match in these expressions.
            ("?+", "?"), ("++", "+"),
            (#"'(?i:[sdmt]|ll|ve|re)"#, contractions), (#"(?i:'s|'t|'re|'ve|'m|'ll|'d)"#, contractions),
            (#"'(?:[sdmt]|ll|ve|re)"#, #"'s|'t|'re|'ve|'m|'ll|'d"#),
            // The whitespace before takes all newlines but the last.
            (#"\s*[\r\n]|"#, #"\s*[\r\n]+|"#), (#"\p{N}{1}"#, #"\p{N}"#),
        ] {
            text.replace(spelling, with: usual)
        }
        return Array(text.utf8)
    }

    private static let contractions = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)"#
    private static let whitespace = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let signs = #"| ?[^\s\p{L}\p{N}]+[\r\n]*"#
    private static let lead = #"[^\r\n\p{L}\p{N}]?"#

    /// By bytes: patterns hold characters that are equal as Strings and different as scalars.
    private static let known: [[UInt8]: SplitPattern] = {
        let uppers = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
        let lowers = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
        func cased(_ suffix: String, _ numbers: String) -> String {
            "\(lead)\(uppers)*\(lowers)+\(suffix)|\(lead)\(uppers)+\(lowers)*\(suffix)|\(numbers)"
                + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*"# + whitespace
        }
        func plain(_ numbers: String) -> String {
            contractions + "|" + lead + #"\p{L}+|"# + numbers + signs + whitespace
        }
        let folded = ClassifiedText.Case.folded
        let list: [(String, SplitPattern)] = [
            (#"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
            (plain(#"\p{N}{1,3}"#), .words(WordPattern(sensitivity: folded))),
            (plain(#"\p{N}"#), .words(WordPattern(digits: 1, sensitivity: folded))),
            (plain(#"\p{N}+"#), .words(WordPattern(digits: .max, sensitivity: folded))),
            (
                contractions + "|" + lead + #"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"# + whitespace,
                .words(WordPattern(letters: .withMarks, digits: 1, sensitivity: folded))
            ),
            (
                cased(contractions + "?", #"\p{N}{1,3}"#),
                .words(
                    WordPattern(letters: .cased, contractions: .trailing, takesSlashes: true, sensitivity: folded))
            ),
            (
                cased("", #"\p{N}"#),
                .words(WordPattern(letters: .cased, contractions: .none, digits: 1, takesSlashes: true))
            ),
            (#"\p{N}"#, .numbers(limit: 1)), (#"\p{N}{1,3}"#, .numbers(limit: 3)), (#"\p{N}+"#, .numbers(limit: .max)),
            ("[0-9][0-9][0-9]", .digitTriples), (#"[\r\n]"#, .newline), (#"\s?\p{L}+"#, .letters),
            (#"\s?\p{P}+"#, .punctuationAfterSpace),
            ("[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+", .ranges([0x3040...0x30FF, 0x4E00...0x9FA5])),
            (
                "[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+",
                .ranges([0x0800...0x9FA5, 0xAC00...0xD7FF])
            ),
            (
                ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##
                    + #"| ?[\p{P}\p{S}]+[\r\n]*"# + whitespace, .deepseek3
            ),
        ]
        return Dictionary(list.map { (Array($0.utf8), $1) }) { first, _ in first }
    }()
}
