/// Splits text into the words that merging works on, one hand-written matcher for each of the patterns that models were
/// trained with. Works on Unicode scalars: a Character may hold several (CR LF is one), and the patterns know none.
enum PreTokenizer {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (GPT-2)
    case gpt2
    /// Every `\p{N}` on its own, and the pattern of GPT-2 on what lies between.
    case smollm
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|`
    /// `\s+(?!\S)|\s+` (Llama 3)
    case llama3

    /// By its name in `tokenizer.ggml.pre`.
    init?(name: String) {
        switch name {
        case "gpt-2": self = .gpt2
        case "smollm": self = .smollm
        case "llama-bpe", "llama3", "llama-v3": self = .llama3
        default: return nil
        }
    }

    /// Calls `body` with the byte range of each word of `text` (valid UTF-8), in order; together they are all of it.
    func forEachWord(_ text: UnsafeRawBufferPointer, _ body: (Range<Int>) -> Void) {
        var position = 0
        switch self {
        case .gpt2, .llama3:
            let scalars = ClassifiedText(bytes: text, end: text.count)
            while position < text.count {
                let end = self == .gpt2 ? scalars.gpt2Word(position) : scalars.llama3Word(position)
                body(position..<end)
                position = end
            }
        case .smollm:
            let whole = ClassifiedText(bytes: text, end: text.count)
            while position < text.count {
                let number = whole.firstNumber(position)
                // The end of a piece is the end of the text for the pattern's lookahead.
                let piece = ClassifiedText(bytes: text, end: number)
                while position < number {
                    let end = piece.gpt2Word(position)
                    body(position..<end)
                    position = end
                }
                if number < text.count {
                    position = number + whole[number].length
                    body(number..<position)
                }
            }
        }
    }
}

extension ClassifiedText {
    func firstNumber(_ start: Int) -> Int {
        var position = start
        while true {
            let scalar = self[position]
            if scalar.kind == .number || scalar.kind == .end { return position }
            position += scalar.length
        }
    }

    func gpt2Word(_ start: Int) -> Int {
        let first = self[start]
        if first.value == 0x27, let end = contraction(start, ignoringCase: false) { return end }
        let runStart = first.value == 0x20 ? start + 1 : start
        let lead = self[runStart].kind
        switch lead {
        case .letter, .number, .other: return run(of: lead, runStart)
        case .whitespace, .end: return whitespaceRun(start)
        }
    }

    func llama3Word(_ start: Int) -> Int {
        let first = self[start]
        if first.value == 0x27, let end = contraction(start, ignoringCase: true) { return end }
        if first.kind == .letter { return run(of: .letter, start) }
        if first.kind == .number { return run(of: .number, start, limit: 3) }
        let isNewline = first.value == 0x0A || first.value == 0x0D
        let second = start + first.length
        if !isNewline, self[second].kind == .letter { return run(of: .letter, second) }
        let punctuation = first.value == 0x20 ? second : start
        if self[punctuation].kind == .other {
            var end = run(of: .other, punctuation)
            while self[end].value == 0x0A || self[end].value == 0x0D { end += 1 }
            return end
        }
        return lastNewline(start) ?? whitespaceRun(start)
    }

    private func run(of kind: ScalarKind, _ start: Int, limit: Int = .max) -> Int {
        var position = start
        var count = 0
        while count < limit {
            let scalar = self[position]
            guard scalar.kind == kind else { break }
            position += scalar.length
            count += 1
        }
        return position
    }

    /// `\s+(?!\S)|\s+`: all of a run at the end of the text, else all but its last scalar, if there are two.
    private func whitespaceRun(_ start: Int) -> Int {
        var position = start
        var last = start
        while self[position].kind == .whitespace {
            last = position
            position += self[position].length
        }
        return self[position].kind == .end || last == start ? position : last
    }

    /// `\s*[\r\n]+`: to the last newline of the run of whitespace.
    private func lastNewline(_ start: Int) -> Int? {
        var position = start
        var end: Int?
        while true {
            let scalar = self[position]
            guard scalar.kind == .whitespace else { return end }
            position += scalar.length
            if scalar.value == 0x0A || scalar.value == 0x0D { end = position }
        }
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe.
    private func contraction(_ start: Int, ignoringCase: Bool) -> Int? {
        func letter(_ index: Int) -> UInt8 {
            guard index < end else { return 0 }
            let byte = bytes[index]
            return ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
        }
        switch (letter(start + 1), letter(start + 2)) {
        case (UInt8(ascii: "s"), _), (UInt8(ascii: "t"), _), (UInt8(ascii: "m"), _), (UInt8(ascii: "d"), _):
            return start + 2
        case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
            (UInt8(ascii: "l"), UInt8(ascii: "l")):
            return start + 3
        default:
            return nil
        }
    }
}
