/// What stands inside `{{ }}` and `{% %}`.
extension Jinja.Lexer {
    typealias Symbol = Jinja.Symbol
    typealias Token = Jinja.Token
    typealias TemplateError = Jinja.TemplateError

    mutating func readTag(closing: UInt8, as end: Token.Kind) throws(TemplateError) {
        let opened = line
        var brackets: [Symbol] = []
        // What closes a tag is `%}` or `}}`.
        let closing = closing == Self.brace ? UInt8(0x7D) : closing
        while position < source.count {
            let byte = source[position]
            if Unicode.Scalar(byte).isPythonSpace {
                if byte == 0x0A { line += 1 }
                position += 1
                continue
            }
            if brackets.isEmpty {
                let isSigned = byte == Self.minus || (byte == Self.plus && closing == Self.percent)
                let place = isSigned ? position + 1 : position
                if place + 1 < source.count, source[place] == closing, source[place + 1] == 0x7D {
                    position = place + 2
                    add(end)
                    finishTag(sign: isSigned ? byte : 0, trimsLineEnd: closing == Self.percent)
                    return
                }
            }
            switch byte {
            case 0x22, 0x27: try readString(quote: byte)
            case 0x30...0x39: try readNumber()
            case 0x41...0x5A, 0x61...0x7A, 0x5F: readName()
            default: try readSymbol(&brackets)
            }
        }
        throw TemplateError("a tag is not closed", line: opened)
    }

    private mutating func readName() {
        let start = position
        while position < source.count, Self.isNameByte(source[position]) { position += 1 }
        add(.name(String(decoding: source[start..<position], as: UTF8.self)))
    }

    private mutating func readNumber() throws(TemplateError) {
        let start = position
        func digits() {
            while position < source.count, (0x30...0x39).contains(source[position]) || source[position] == 0x5F {
                position += 1
            }
        }
        func isDigit(_ index: Int) -> Bool { index < source.count && (0x30...0x39).contains(source[index]) }
        digits()
        var isFloat = false
        // Not after a dot: `a.0.1` is two subscripts.
        let followsDot = tokens.last?.kind == .symbol(.dot)
        if !followsDot, position < source.count, source[position] == 0x2E, isDigit(position + 1) {
            isFloat = true
            position += 1
            digits()
        }
        if !followsDot, position < source.count, source[position] | 0x20 == 0x65 {
            let sign = position + 1 < source.count && [0x2B, 0x2D].contains(source[position + 1]) ? 1 : 0
            if isDigit(position + 1 + sign) {
                isFloat = true
                position += 1 + sign
                digits()
            }
        }
        let text = String(decoding: source[start..<position], as: UTF8.self).filter { $0 != "_" }
        if isFloat, let value = Double(text), value.isFinite {
            add(.float(value))
        } else if !isFloat, let value = Int(text) {
            add(.int(value))
        } else {
            throw TemplateError("the number \(text.prefix(40)) is out of range", line: line)
        }
    }

    private mutating func readSymbol(_ brackets: inout [Symbol]) throws(TemplateError) {
        guard let symbol = Symbol.allCases.first(where: { source[position...].starts(with: $0.rawValue.utf8) })
        else {
            let rest = String(decoding: source[position...].prefix(4), as: UTF8.self)
            throw TemplateError("unexpected character '\(rest.prefix(1))'", line: line)
        }
        switch symbol {
        case .leftBracket: brackets.append(.rightBracket)
        case .leftParenthesis: brackets.append(.rightParenthesis)
        case .leftBrace: brackets.append(.rightBrace)
        case .rightBracket, .rightParenthesis, .rightBrace:
            guard brackets.popLast() == symbol else {
                throw TemplateError("'\(symbol.rawValue)' closes nothing", line: line)
            }
        default: break
        }
        position += symbol.rawValue.utf8.count
        add(.symbol(symbol))
    }

    private mutating func readString(quote: UInt8) throws(TemplateError) {
        let opened = line
        let start = position + 1
        position += 1
        while position < source.count, source[position] != quote {
            if source[position] == 0x0A { line += 1 }
            if source[position] == 0x5C {
                position += 1
                if position < source.count, source[position] == 0x0A { line += 1 }
            }
            position += 1
        }
        guard position < source.count else { throw TemplateError("a string is not closed", line: opened) }
        guard let text = Jinja.StringEscapes.decode(source[start..<position]) else {
            throw TemplateError("a string has a wrong escape", line: opened)
        }
        tokens.append(Token(kind: .string(text), line: opened))
        position += 1
    }
}
