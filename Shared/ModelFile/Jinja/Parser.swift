extension Jinja {
    /// Tokens to a tree, by the grammar of jinja2. The depth of the tree is bounded here, so that neither this parser nor
    /// whoever walks the tree can run out of stack.
    struct Parser {
        private let tokens: [Token]
        private var position = 0
        private let limits: Limits
        private var depth = 0
        /// At least the height of what has been read at this level of nesting.
        private var height = 0
        /// Loops around the statement that is read, since the last macro.
        var loopDepth = 0

        init(_ tokens: [Token], _ limits: Limits) {
            self.tokens = tokens
            self.limits = limits
        }

        static func parse(_ text: String, _ limits: Limits) throws(TemplateError) -> [Statement] {
            guard text.utf8.count <= limits.templateBytes else {
                throw TemplateError(
                    "\(text.utf8.count) bytes are more than \(limits.templateBytes)", line: 1, kind: .limit)
            }
            var parser = Parser(try Lexer.tokens(of: text), limits)
            return try parser.statements(until: [])
        }

        var current: Token { tokens[min(position, tokens.count - 1)] }
        var next: Token { tokens[min(position + 1, tokens.count - 1)] }

        mutating func advance() { position += 1 }

        func error(_ reason: String) -> TemplateError { TemplateError(reason, line: current.line) }

        func unexpected(_ wanted: String) -> TemplateError {
            error("\(current.kind.described) where \(wanted) was expected")
        }

        /// One level deeper for as long as `body` takes.
        mutating func nested<Result>(
            _ body: (inout Self) throws(TemplateError) -> Result
        ) throws(TemplateError) -> Result {
            depth += 1
            guard depth <= limits.nesting else { throw tooDeep(limits.nesting) }
            let sibling = height
            height = 0
            defer {
                depth -= 1
                height = max(sibling, height + 1)
            }
            return try body(&self)
        }

        /// Puts what was read last one level down: `a.b.c` and `a | f | g` are read in a loop and are deep all the same.
        mutating func deepen() throws(TemplateError) {
            height += 1
            guard height <= limits.depth else { throw tooDeep(limits.depth) }
        }

        private func tooDeep(_ limit: Int) -> TemplateError {
            TemplateError("more than \(limit) levels inside each other", line: current.line, kind: .limit)
        }

        func isName(_ name: String) -> Bool { current.kind == .name(name) }
        func isSymbol(_ symbol: Symbol) -> Bool { current.kind == .symbol(symbol) }

        mutating func skip(_ symbol: Symbol) -> Bool {
            guard isSymbol(symbol) else { return false }
            advance()
            return true
        }

        mutating func skip(name: String) -> Bool {
            guard isName(name) else { return false }
            advance()
            return true
        }

        mutating func expect(_ symbol: Symbol) throws(TemplateError) {
            guard skip(symbol) else { throw unexpected("'\(symbol.rawValue)'") }
        }

        mutating func expect(name: String) throws(TemplateError) {
            guard skip(name: name) else { throw unexpected("'\(name)'") }
        }

        mutating func expect(_ kind: Token.Kind) throws(TemplateError) {
            guard current.kind == kind else { throw unexpected(kind.described) }
            advance()
        }

        mutating func anyName() throws(TemplateError) -> String {
            guard case .name(let name) = current.kind else { throw unexpected("a name") }
            advance()
            return name
        }
    }
}

extension Jinja.Token.Kind {
    var described: String {
        switch self {
        case .text: "text"
        case .blockBegin: "'{%'"
        case .blockEnd: "'%}'"
        case .outputBegin: "'{{'"
        case .outputEnd: "'}}'"
        case .name(let name): "'\(name.prefix(40))'"
        case .string: "a string"
        case .int, .float: "a number"
        case .symbol(let symbol): "'\(symbol.rawValue)'"
        case .end: "the end of the template"
        }
    }
}
