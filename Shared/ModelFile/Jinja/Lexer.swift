extension Jinja {
    struct Token: Equatable {
        enum Kind: Equatable {
            case text(Text)
            case blockBegin, blockEnd, outputBegin, outputEnd
            case name(String)
            case string([UInt8])
            case int(Int)
            case float(Double)
            case symbol(Symbol)
            case end
        }

        let kind: Kind
        let line: Int
    }

    /// Longer ones first where one begins another.
    enum Symbol: String, CaseIterable {
        case floorDivide = "//"
        case power = "**"
        case equal = "=="
        case notEqual = "!="
        case greaterOrEqual = ">="
        case lessOrEqual = "<="
        case plus = "+"
        case minus = "-"
        case divide = "/"
        case multiply = "*"
        case modulo = "%"
        case tilde = "~"
        case leftBracket = "["
        case rightBracket = "]"
        case leftParenthesis = "("
        case rightParenthesis = ")"
        case leftBrace = "{"
        case rightBrace = "}"
        case greater = ">"
        case less = "<"
        case assign = "="
        case dot = "."
        case colon = ":"
        case pipe = "|"
        case comma = ","
    }

    /// Cuts a template into tokens, with whitespace control as `trim_blocks` and `lstrip_blocks` set it.
    struct Lexer {
        let source: [UInt8]
        var position = 0
        var line = 1
        var tokens: [Token] = []
        /// Whether what was read last ended a line.
        private var isAtLineStart = true

        init(_ text: String) {
            // All line ends become \n, and one at the very end goes.
            var bytes: [UInt8] = []
            bytes.reserveCapacity(text.utf8.count)
            var previous: UInt8 = 0
            for byte in text.utf8 {
                if byte == 0x0A, previous == 0x0D {
                    previous = byte
                    continue
                }
                bytes.append(byte == 0x0D ? 0x0A : byte)
                previous = byte
            }
            if bytes.last == 0x0A { bytes.removeLast() }
            source = bytes
        }

        static func tokens(of text: String) throws(TemplateError) -> [Token] {
            var lexer = Lexer(text)
            try lexer.run()
            return lexer.tokens
        }

        private mutating func run() throws(TemplateError) {
            while position < source.count {
                let start = position
                while position < source.count, !isTagStart(position) { position += 1 }
                let textEnd = position
                guard position < source.count else {
                    appendText(start..<textEnd)
                    break
                }
                let kind = source[position + 1]
                let sign = position + 2 < source.count ? source[position + 2] : 0
                appendText(start..<trimmedEnd(start..<textEnd, isOutput: kind == Self.brace, sign: sign))
                count(textEnd..<position)
                position += 2
                if sign == Self.minus || sign == Self.plus { position += 1 }
                switch kind {
                case Self.hash: try skipComment()
                case Self.brace:
                    add(.outputBegin)
                    try readTag(closing: Self.brace, as: .outputEnd)
                default:
                    if try readRaw() { continue }
                    add(.blockBegin)
                    try readTag(closing: Self.percent, as: .blockEnd)
                }
            }
            add(.end)
        }

        // MARK: Text

        private func isTagStart(_ index: Int) -> Bool {
            guard source[index] == Self.brace, index + 1 < source.count else { return false }
            let next = source[index + 1]
            return next == Self.brace || next == Self.percent || next == Self.hash
        }

        /// Where the text before a tag ends, by the tag's sign and `lstrip_blocks`.
        private func trimmedEnd(_ range: Range<Int>, isOutput: Bool, sign: UInt8) -> Int {
            let text = source[range]
            if sign == Self.minus {
                let stripped = Text(trusting: text).stripped(left: false)
                return range.lowerBound + stripped.count
            }
            if sign == Self.plus || isOutput { return range.upperBound }
            let lineStart = text.lastIndex(of: 0x0A).map { $0 + 1 }
            guard lineStart != nil || isAtLineStart else { return range.upperBound }
            let blank = Text(trusting: source[(lineStart ?? range.lowerBound)..<range.upperBound])
            return blank.stripped().isEmpty ? range.upperBound - blank.count : range.upperBound
        }

        private mutating func appendText(_ range: Range<Int>) {
            if !range.isEmpty { add(.text(Text(trusting: source[range]))) }
            count(range)
        }

        private mutating func count(_ range: Range<Int>) {
            line += source[range].count { $0 == 0x0A }
        }

        /// After a tag: `-` takes all whitespace, `trim_blocks` one line end.
        mutating func finishTag(sign: UInt8, trimsLineEnd: Bool) {
            let start = position
            if sign == Self.minus {
                position = source.count - Text(trusting: source[position...]).stripped(right: false).count
            } else if trimsLineEnd, sign != Self.plus, position < source.count, source[position] == 0x0A {
                position += 1
            }
            count(start..<position)
            isAtLineStart = position > start && source[position - 1] == 0x0A
        }

        private mutating func skipComment() throws(TemplateError) {
            let start = position
            let opened = line
            while position + 1 < source.count {
                if source[position] == Self.hash, source[position + 1] == 0x7D {
                    let sign = position > start ? source[position - 1] : 0
                    count(start..<position)
                    position += 2
                    finishTag(sign: sign, trimsLineEnd: true)
                    return
                }
                position += 1
            }
            throw TemplateError("a comment is not closed", line: opened)
        }

        /// `{% raw %}`: everything up to `{% endraw %}` is text.
        private mutating func readRaw() throws(TemplateError) -> Bool {
            var scan = position
            skipSpace(&scan)
            guard word("raw", &scan) else { return false }
            skipSpace(&scan)
            guard let sign = tagEnd(&scan) else { return false }
            let opened = line
            count(position..<scan)
            position = scan
            finishTag(sign: sign, trimsLineEnd: false)
            let start = position
            while position + 1 < source.count {
                if source[position] == Self.brace, source[position + 1] == Self.percent {
                    var scan = position + 2
                    let opening = scan < source.count ? source[scan] : 0
                    if opening == Self.minus || opening == Self.plus { scan += 1 }
                    skipSpace(&scan)
                    if word("endraw", &scan) {
                        skipSpace(&scan)
                        if let sign = tagEnd(&scan) {
                            appendText(start..<trimmedEnd(start..<position, isOutput: false, sign: opening))
                            position = scan
                            finishTag(sign: sign, trimsLineEnd: true)
                            return true
                        }
                    }
                }
                position += 1
            }
            throw TemplateError("'raw' is not closed", line: opened)
        }

        private func skipSpace(_ scan: inout Int) {
            while scan < source.count, Unicode.Scalar(source[scan]).isPythonSpace { scan += 1 }
        }

        private func word(_ text: String, _ scan: inout Int) -> Bool {
            guard source[scan...].starts(with: text.utf8) else { return false }
            scan += text.utf8.count
            return true
        }

        /// `%}` with its sign.
        private func tagEnd(_ scan: inout Int) -> UInt8? {
            var sign: UInt8 = 0
            if scan < source.count, source[scan] == Self.minus || source[scan] == Self.plus {
                sign = source[scan]
                scan += 1
            }
            guard scan + 1 < source.count, source[scan] == Self.percent, source[scan + 1] == 0x7D else { return nil }
            scan += 2
            return sign
        }

        mutating func add(_ kind: Token.Kind) { tokens.append(Token(kind: kind, line: line)) }

        static func isNameByte(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
            default: false
            }
        }

        static let brace = UInt8(ascii: "{")
        static let percent = UInt8(ascii: "%")
        static let hash = UInt8(ascii: "#")
        static let minus = UInt8(ascii: "-")
        static let plus = UInt8(ascii: "+")
    }
}
