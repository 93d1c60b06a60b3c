extension Jinja.Parser {
    typealias Symbol = Jinja.Symbol

    /// `a, b`: a tuple where there is a comma.
    mutating func tuple(allowsConditional: Bool = true) throws(TemplateError) -> Expression {
        let first = allowsConditional ? try expression() : try disjunction()
        guard isSymbol(.comma) else { return first }
        var elements = [first]
        while skip(.comma) {
            switch current.kind {
            case .outputEnd, .blockEnd, .symbol(.rightParenthesis): return .tuple(elements)
            default: elements.append(allowsConditional ? try expression() : try disjunction())
            }
        }
        return .tuple(elements)
    }

    /// With `a if b else c`.
    mutating func expression() throws(TemplateError) -> Expression {
        try nested { (parser) throws(TemplateError) in
            var value = try parser.disjunction()
            while parser.skip(name: "if") {
                try parser.deepen()
                let condition = try parser.disjunction()
                let otherwise = parser.skip(name: "else") ? try parser.expression() : nil
                value = .conditional(value, condition: condition, otherwise: otherwise)
            }
            return value
        }
    }

    mutating func disjunction() throws(TemplateError) -> Expression {
        var parts = [try conjunction()]
        while skip(name: "or") { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .or(parts)
    }

    private mutating func conjunction() throws(TemplateError) -> Expression {
        var parts = [try negation()]
        while skip(name: "and") { parts.append(try negation()) }
        return parts.count == 1 ? parts[0] : .and(parts)
    }

    private mutating func negation() throws(TemplateError) -> Expression {
        guard skip(name: "not") else { return try comparison() }
        return try nested { (parser) throws(TemplateError) in .not(try parser.negation()) }
    }

    private mutating func comparison() throws(TemplateError) -> Expression {
        let first = try sum()
        var rest: [(operation: Jinja.ComparisonOperator, operand: Expression)] = []
        while let comparison = comparisonOperator() { rest.append((comparison, try sum())) }
        return rest.isEmpty ? first : .comparison(first, rest)
    }

    private mutating func comparisonOperator() -> Jinja.ComparisonOperator? {
        switch current.kind {
        case .symbol(.equal): advance(); return .equal
        case .symbol(.notEqual): advance(); return .notEqual
        case .symbol(.less): advance(); return .less
        case .symbol(.lessOrEqual): advance(); return .lessOrEqual
        case .symbol(.greater): advance(); return .greater
        case .symbol(.greaterOrEqual): advance(); return .greaterOrEqual
        case .name("in"): advance(); return .isIn
        case .name("not") where next.kind == .name("in"):
            advance()
            advance()
            return .isNotIn
        default: return nil
        }
    }

    private mutating func sum() throws(TemplateError) -> Expression {
        try arithmetic([.plus: .add, .minus: .subtract]) { (parser) throws(TemplateError) in
            try parser.concatenation()
        }
    }

    private mutating func concatenation() throws(TemplateError) -> Expression {
        var parts = [try product()]
        while skip(.tilde) { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concatenation(parts)
    }

    private mutating func product() throws(TemplateError) -> Expression {
        let operators: [Symbol: Jinja.ArithmeticOperator] = [
            .multiply: .multiply, .divide: .divide, .floorDivide: .floorDivide, .modulo: .modulo,
        ]
        return try arithmetic(operators) { (parser) throws(TemplateError) in
            // From the left too, as in jinja2.
            try parser.arithmetic([.power: .power]) { (parser) throws(TemplateError) in
                try parser.unary(allowsFilter: true)
            }
        }
    }

    /// Operands joined from the left by `operators`. A long chain is one flat node.
    private mutating func arithmetic(
        _ operators: [Symbol: Jinja.ArithmeticOperator], _ operand: (inout Self) throws(TemplateError) -> Expression
    ) throws(TemplateError) -> Expression {
        let first = try operand(&self)
        var rest: [(operation: Jinja.ArithmeticOperator, operand: Expression)] = []
        while case .symbol(let symbol) = current.kind, let found = operators[symbol] {
            advance()
            rest.append((found, try operand(&self)))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func unary(allowsFilter: Bool) throws(TemplateError) -> Expression {
        var value: Expression
        if skip(.minus) {
            value = .negative(try nested { (parser) throws(TemplateError) in try parser.unary(allowsFilter: false) })
        } else if skip(.plus) {
            value = .positive(try nested { (parser) throws(TemplateError) in try parser.unary(allowsFilter: false) })
        } else {
            value = try primary()
        }
        value = try postfix(value)
        return allowsFilter ? try filterChain(value) : value
    }

    private mutating func primary() throws(TemplateError) -> Expression {
        let token = current
        switch token.kind {
        case .name(let name):
            advance()
            switch name {
            case "true", "True": return .literal(.bool(true))
            case "false", "False": return .literal(.bool(false))
            case "none", "None": return .literal(.null)
            default: return .name(name)
            }
        case .string:
            var text: [UInt8] = []
            while case .string(let part) = current.kind {
                text += part
                advance()
            }
            return .literal(.text(Jinja.Text(trusting: text)))
        case .int(let value):
            advance()
            return .literal(.int(value))
        case .float(let value):
            advance()
            return .literal(.float(value))
        case .symbol(.leftParenthesis):
            advance()
            if skip(.rightParenthesis) { return .tuple([]) }
            let value = try tuple()
            try expect(.rightParenthesis)
            return value
        case .symbol(.leftBracket):
            advance()
            return .list(try elements(until: .rightBracket))
        case .symbol(.leftBrace):
            advance()
            return try dictionary()
        default:
            throw unexpected("an expression")
        }
    }

    private mutating func elements(until end: Symbol) throws(TemplateError) -> [Expression] {
        var elements: [Expression] = []
        while !isSymbol(end) {
            if !elements.isEmpty { try expect(.comma) }
            if isSymbol(end) { break }
            elements.append(try expression())
        }
        try expect(end)
        return elements
    }

    private mutating func dictionary() throws(TemplateError) -> Expression {
        var entries: [(key: Expression, value: Expression)] = []
        while !isSymbol(.rightBrace) {
            if !entries.isEmpty { try expect(.comma) }
            if isSymbol(.rightBrace) { break }
            let key = try expression()
            try expect(.colon)
            entries.append((key, try expression()))
        }
        try expect(.rightBrace)
        return .dictionary(entries)
    }

    private mutating func postfix(_ start: Expression) throws(TemplateError) -> Expression {
        var value = start
        while true {
            switch current.kind {
            case .symbol(.dot):
                advance()
                if case .int(let index) = current.kind {
                    advance()
                    value = .subscripted(value, .literal(.int(index)))
                } else {
                    value = .attribute(value, try anyName())
                }
            case .symbol(.leftBracket):
                advance()
                value = try subscripted(value)
            case .symbol(.leftParenthesis):
                value = .call(value, try arguments())
            default:
                return value
            }
            try deepen()
        }
    }

    /// What stands in brackets after a value: an index or a slice.
    private mutating func subscripted(_ value: Expression) throws(TemplateError) -> Expression {
        var parts: [Expression?] = [nil]
        var isSlice = false
        while !isSymbol(.rightBracket) {
            if skip(.colon) {
                isSlice = true
                parts.append(nil)
                guard parts.count <= 3 else { throw unexpected("']'") }
            } else if parts[parts.count - 1] == nil {
                parts[parts.count - 1] = try expression()
            } else {
                throw unexpected("']'")
            }
        }
        try expect(.rightBracket)
        if isSlice {
            return .slice(value, start: parts[0], stop: parts[1], step: parts.count > 2 ? parts[2] : nil)
        }
        guard let index = parts[0] else { throw error("an index is missing") }
        return .subscripted(value, index)
    }

    private mutating func arguments() throws(TemplateError) -> Jinja.Arguments {
        var arguments = Jinja.Arguments()
        try expect(.leftParenthesis)
        while !isSymbol(.rightParenthesis) {
            if !arguments.positional.isEmpty || !arguments.named.isEmpty { try expect(.comma) }
            if isSymbol(.rightParenthesis) { break }
            if isSymbol(.multiply) || isSymbol(.power) { throw error("'*' before an argument is not supported") }
            if case .name(let name) = current.kind, next.kind == .symbol(.assign) {
                advance()
                advance()
                arguments.named.append((name, try expression()))
            } else {
                guard arguments.named.isEmpty else { throw error("a positional argument after a named one") }
                arguments.positional.append(try expression())
            }
        }
        try expect(.rightParenthesis)
        return arguments
    }

    /// Filters, tests and calls after a value. Without a value the first filter stands without `|`, or after it.
    mutating func filterChain(_ start: Expression?) throws(TemplateError) -> Expression {
        var value = start
        var isFirst = start == nil
        while true {
            if isSymbol(.pipe) || isFirst {
                _ = skip(.pipe)
                isFirst = false
                let name = try anyName()
                let given = isSymbol(.leftParenthesis) ? try arguments() : Jinja.Arguments()
                value =
                    Jinja.Filter(name: name).map { .filter($0, value, given) }
                    ?? .unsupported("the filter '\(name.prefix(40))' is not supported")
            } else if let tested = value, start != nil, skip(name: "is") {
                value = try test(tested)
            } else if let called = value, start != nil, isSymbol(.leftParenthesis) {
                value = .call(called, try arguments())
            } else if let value {
                return value
            }
            try deepen()
        }
    }

    private mutating func test(_ value: Expression) throws(TemplateError) -> Expression {
        let isNegated = skip(name: "not")
        let name = try anyName()
        var given = Jinja.Arguments()
        switch current.kind {
        case .symbol(.leftParenthesis): given = try arguments()
        case .name("else"), .name("or"), .name("and"): break
        case .name("is"): throw error("tests cannot be chained")
        case .name, .string, .int, .float, .symbol(.leftBracket), .symbol(.leftBrace):
            given.positional = [try postfix(primary())]
        default: break
        }
        guard let test = Jinja.Test(name: name) else {
            return .unsupported("the test '\(name.prefix(40))' is not supported")
        }
        return isNegated ? .not(.test(test, value, given)) : .test(test, value, given)
    }
}
