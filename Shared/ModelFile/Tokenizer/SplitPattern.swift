/// One pattern that text is split by: what it matches and what lies between its matches are pieces. Written by hand for
/// the patterns that models were trained with; each match looks at no more than it takes, and a bounded number of
/// scalars beyond, or at a run that the next matches take.
enum SplitPattern: Equatable {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (GPT-2)
    case gpt2
    /// The patterns that followed it, from GPT-4's on.
    case words(WordPattern)
    /// `\p{N}{1,limit}`
    case numbers(limit: Int)
    /// `[0-9][0-9][0-9]`
    case digitTriples
    /// `[\p{P}\$\+<=>\^~\|]+`, Falcon's with the backtick
    case punctuation(withBacktick: Bool)
    /// `[\r\n]`
    case newline
    /// `\s?\p{L}+`
    case letters
    /// `\s?\p{P}+`
    case punctuationAfterSpace
    /// Runs of these scalars, which are in ascending order.
    case ranges([ClosedRange<UInt32>])
    /// The same after `\s?`.
    case rangesAfterSpace([ClosedRange<UInt32>])
    /// `\s+$`
    case whitespaceAtEnd
    /// ` ?[^(\s|.,!?…。，、।۔،)]+` (Bloom)
    case unpunctuated
    /// `(?=(\d{3})+(?!\d))`, which matches nothing: it cuts ASCII digits in threes from their end.
    case digitGroups
    /// `[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, the
    /// first class being ASCII's punctuation and symbols (DeepSeek V3)
    case deepseek3

    /// Whether every scalar is in some match, so that nothing lies between.
    var coversAll: Bool {
        switch self {
        case .gpt2, .words: true
        default: false
        }
    }

    /// Where the match ends that begins at `start`; nil when none does.
    func match(_ text: ClassifiedText, _ start: Int) -> Int? {
        let first = text[start]
        switch self {
        case .gpt2: return text.gpt2Word(start)
        case .words(let pattern): return text.word(start, pattern)
        case .deepseek3: return text.deepseek3Word(start)
        case .numbers(let limit): return first.is(.number) ? text.run(of: .number, start, limit: limit) : nil
        case .digitTriples:
            guard start + 3 <= text.end else { return nil }
            return text.bytes[start..<start + 3].allSatisfy { (0x30...0x39).contains($0) } ? start + 3 : nil
        case .newline: return first.isNewline ? start + 1 : nil
        case .letters: return text.afterSpace(.letter, start)
        case .punctuationAfterSpace: return text.afterSpace(.punctuation, start)
        case .punctuation(let withBacktick):
            return text.prefix(start) { scalar in
                scalar.is(.punctuation)
                    || scalar.is(.symbol) && scalar.value < 0x80 && (scalar.value != 0x60 || withBacktick)
            }
        case .ranges(let ranges): return text.prefix(start) { ranges.hold($0.value) }
        case .rangesAfterSpace(let ranges):
            let isSpace = first.is(.whitespace)
            return text.prefix(isSpace ? start + first.length : start) { ranges.hold($0.value) }
        case .whitespaceAtEnd:
            guard first.is(.whitespace) else { return nil }
            let end = text.run(of: .whitespace, start)
            return end == text.end ? end : nil
        case .unpunctuated:
            let isSpace = first.value == 0x20
            return text.prefix(isSpace ? start + 1 : start) { scalar in
                !scalar.is(.whitespace) && !CharacterRanges.bloomPunctuation.contains(scalar.value)
            }
        case .digitGroups:
            guard text.isDigit(start) else { return nil }
            // Behind a digit the first group, which may be shorter, is over.
            if start > 0, text.isDigit(start - 1) { return min(start + 3, text.end) }
            var end = start
            while text.isDigit(end) { end += 1 }
            return start + ((end - start) % 3 == 0 ? min(3, end - start) : (end - start) % 3)
        }
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|`
/// `\s+(?!\S)|\s+` (GPT-4, Llama 3) and its relatives.
struct WordPattern: Equatable {
    enum Letters {
        /// `\p{L}+`
        case plain
        /// `[\p{L}\p{M}]+`, and no marks among the punctuation
        case withMarks
        /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`, or `+` and `*`: a word ends where a capital
        /// follows a small letter
        case cased
    }

    enum Contractions {
        case leading
        /// At the end of the word that they follow.
        case trailing
        case none
    }

    var letters = Letters.plain
    var contractions = Contractions.leading
    /// Digits in one word.
    var digits = 3
    /// Whether slashes follow punctuation as newlines do.
    var takesSlashes = false
    /// Whether newlines follow punctuation in its word.
    var takesNewlines = true
    var sensitivity = ClassifiedText.Case.ascii
}

extension ClassifiedText {
    fileprivate func gpt2Word(_ start: Int) -> Int? {
        if let end = contraction(start, .sensitive) { return end }
        let runStart = self[start].value == 0x20 ? start + 1 : start
        let lead = self[runStart].kind
        for kinds in [ScalarClass.letter, .number, .neither] where kinds.contains(lead) {
            return run(of: kinds, runStart)
        }
        return whitespaceRun(start)
    }

    fileprivate func word(_ start: Int, _ pattern: WordPattern) -> Int? {
        if pattern.contractions == .leading, let end = contraction(start, pattern.sensitivity) { return end }
        if let end = letters(start, pattern) { return end }
        let first = self[start]
        if first.is(.number) { return run(of: .number, start, limit: pattern.digits) }
        let neither = pattern.letters == .withMarks ? ScalarClass.neither.subtracting(.mark) : .neither
        let punctuation = first.value == 0x20 ? start + 1 : start
        if self[punctuation].is(neither) {
            var end = run(of: neither, punctuation)
            while pattern.takesNewlines && self[end].isNewline || pattern.takesSlashes && self[end].value == 0x2F {
                end += 1
            }
            return end
        }
        return lastNewline(start) ?? whitespaceRun(start)
    }

    /// `[^\r\n\p{L}\p{N}]?` and letters.
    private func letters(_ start: Int, _ pattern: WordPattern) -> Int? {
        let first = self[start]
        let mayLead = !first.isNewline && !first.is([.letter, .number, .end])
        let second = start + first.length
        switch pattern.letters {
        case .plain:
            if first.is(.letter) { return run(of: .letter, start) }
            return mayLead && self[second].is(.letter) ? run(of: .letter, second) : nil
        case .withMarks:
            let kinds: ScalarClass = [.letter, .mark]
            if mayLead, self[second].is(kinds) { return run(of: kinds, second) }
            return first.is(kinds) ? run(of: kinds, start) : nil
        case .cased:
            let end =
                (mayLead ? casedRun(second) : nil) ?? casedRun(start) ?? (mayLead ? upperRun(second) : nil)
                ?? upperRun(start)
            guard let end, pattern.contractions == .trailing else { return end }
            return contraction(end, pattern.sensitivity) ?? end
        }
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
    private func casedRun(_ start: Int) -> Int? {
        var position = start
        // After the last scalar of the first class that is in the second as well.
        var shared: Int?
        while self[position].is([.upper, .uncased, .mark]) {
            let scalar = self[position]
            position += scalar.length
            if !scalar.is(.upper) { shared = position }
        }
        guard self[position].is(.lower) else { return shared }
        return run(of: [.lower, .uncased, .mark], position)
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+`, when `casedRun` found nothing: then nothing of the second class follows.
    private func upperRun(_ start: Int) -> Int? {
        let end = run(of: [.upper, .uncased, .mark], start)
        return end > start ? end : nil
    }

    fileprivate func deepseek3Word(_ start: Int) -> Int? {
        let first = self[start]
        let second = start + first.length
        if first.value < 0x80, first.is([.punctuation, .symbol]) {
            let end = prefix(second) { $0.value < 0x80 && $0.is(.letter) }
            if let end { return end }
        }
        let letters: ScalarClass = [.letter, .mark]
        if !first.isNewline, !first.is([.letter, .punctuation, .symbol, .end]), self[second].is(letters) {
            return run(of: letters, second)
        }
        if first.is(letters) { return run(of: letters, start) }
        let signs: ScalarClass = [.punctuation, .symbol]
        let signStart = first.value == 0x20 ? second : start
        if self[signStart].is(signs) {
            var end = run(of: signs, signStart)
            while self[end].isNewline { end += 1 }
            return end
        }
        return lastNewline(start) ?? whitespaceRun(start)
    }

    /// Whether an ASCII digit stands there.
    fileprivate func isDigit(_ place: Int) -> Bool { place < end && (0x30...0x39).contains(bytes[place]) }

    /// `\s?` and a run.
    fileprivate func afterSpace(_ kinds: ScalarClass, _ start: Int) -> Int? {
        let first = self[start]
        let runStart = first.is(.whitespace) ? start + first.length : start
        return self[runStart].is(kinds) ? run(of: kinds, runStart) : nil
    }

    /// A run of scalars that are wanted, nil when it is empty.
    fileprivate func prefix(_ start: Int, where isWanted: (Scalar) -> Bool) -> Int? {
        var position = start
        while position < end {
            let scalar = self[position]
            guard isWanted(scalar) else { break }
            position += scalar.length
        }
        return position > start ? position : nil
    }
}
