extension Jinja.Parser {
    typealias TemplateError = Jinja.TemplateError
    typealias Statement = Jinja.Statement
    typealias Expression = Jinja.Expression

    /// Statements up to a tag of one of these names, which is left to the caller with its `{%` read; up to the end when
    /// there are none.
    mutating func statements(until ends: [String]) throws(TemplateError) -> [Statement] {
        try nested { (parser) throws(TemplateError) in
            var body: [Statement] = []
            while true {
                let line = parser.current.line
                switch parser.current.kind {
                case .text(let text):
                    parser.advance()
                    body.append(Statement(line: line, kind: .text(text)))
                case .outputBegin:
                    parser.advance()
                    body.append(Statement(line: line, kind: .output(try parser.tuple())))
                    try parser.expect(.outputEnd)
                case .blockBegin:
                    parser.advance()
                    guard case .name(let name) = parser.current.kind else {
                        throw parser.unexpected("the name of a tag")
                    }
                    if ends.contains(name) { return body }
                    parser.advance()
                    body.append(Statement(line: line, kind: try parser.statement(name, line: line)))
                    try parser.expect(.blockEnd)
                case .end:
                    guard ends.isEmpty else {
                        throw parser.error("the template ends where '\(ends.joined(separator: "' or '"))' was expected")
                    }
                    return body
                default:
                    throw parser.unexpected("text or a tag")
                }
            }
        }
    }

    /// The statement whose tag has this name; its last `%}` is left to the caller.
    private mutating func statement(_ name: String, line: Int) throws(TemplateError) -> Statement.Kind {
        switch name {
        case "if": return try conditional()
        case "for": return try forLoop()
        case "set": return try set()
        case "macro":
            let name = try anyName()
            return .macro(try macro(named: name, parameters: parameters(), end: "endmacro"))
        case "call":
            let parameters = isSymbol(.leftParenthesis) ? try parameters() : []
            let call = try expression()
            guard case .call(let callee, let arguments) = call else { throw error("'call' needs a call") }
            return .callBlock(
                callee, arguments, caller: try macro(named: "caller", parameters: parameters, end: "endcall"))
        case "filter":
            guard case .name = current.kind else { throw unexpected("a filter") }
            let filter = try filterChain(nil)
            return .filterBlock(filter, body: try body(end: "endfilter"))
        case "generation":
            return .transparent(try body(end: "endgeneration"))
        case "with":
            var values: [(name: String, value: Expression)] = []
            while current.kind != .blockEnd {
                if !values.isEmpty { try expect(.comma) }
                let name = try anyName()
                try expect(.assign)
                values.append((name, try expression()))
            }
            return .with(values, body: try body(end: "endwith"))
        case "break", "continue":
            guard loopDepth > 0 else { throw TemplateError("'\(name)' outside of a loop", line: line) }
            return name == "break" ? .breakLoop : .continueLoop
        default:
            throw TemplateError("the tag '\(name.prefix(40))' is not supported here", line: line)
        }
    }

    private mutating func body(end: String) throws(TemplateError) -> [Statement] {
        try expect(.blockEnd)
        let body = try statements(until: [end])
        try expect(name: end)
        return body
    }

    private mutating func conditional() throws(TemplateError) -> Statement.Kind {
        var branches: [(condition: Expression, body: [Statement])] = []
        repeat {
            let condition = try tuple(allowsConditional: false)
            try expect(.blockEnd)
            branches.append((condition, try statements(until: ["elif", "else", "endif"])))
        } while skip(name: "elif")
        var otherwise: [Statement] = []
        if skip(name: "else") {
            try expect(.blockEnd)
            otherwise = try statements(until: ["endif"])
        }
        try expect(name: "endif")
        return .conditional(branches, otherwise: otherwise)
    }

    private mutating func forLoop() throws(TemplateError) -> Statement.Kind {
        let target = try target(allowsAttribute: false)
        try expect(name: "in")
        let iterable = try tuple(allowsConditional: false)
        let condition = skip(name: "if") ? try expression() : nil
        if isName("recursive") { throw error("recursive loops are not supported") }
        try expect(.blockEnd)
        loopDepth += 1
        let body = try statements(until: ["else", "endfor"])
        loopDepth -= 1
        var otherwise: [Statement] = []
        if skip(name: "else") {
            try expect(.blockEnd)
            otherwise = try statements(until: ["endfor"])
        }
        try expect(name: "endfor")
        return .loop(
            Jinja.ForLoop(target: target, iterable: iterable, condition: condition, body: body, otherwise: otherwise))
    }

    private mutating func set() throws(TemplateError) -> Statement.Kind {
        let target = try target(allowsAttribute: true)
        if skip(.assign) { return .set(target, try tuple()) }
        let filter = isSymbol(.pipe) ? try filterChain(nil) : nil
        return .setBlock(target, filter: filter, body: try body(end: "endset"))
    }

    /// `x`, `ns.x`, `x, y` or `(x, y)`.
    private mutating func target(allowsAttribute: Bool) throws(TemplateError) -> Jinja.Target {
        func single(_ parser: inout Self) throws(TemplateError) -> Jinja.Target {
            if parser.skip(.leftParenthesis) {
                let target = try parser.nested { (parser) throws(TemplateError) in
                    try parser.target(allowsAttribute: false)
                }
                try parser.expect(.rightParenthesis)
                return target
            }
            let name = try parser.anyName()
            guard !["true", "false", "none", "True", "False", "None"].contains(name) else {
                throw parser.error("'\(name)' cannot be set")
            }
            if allowsAttribute, parser.skip(.dot) {
                return .attribute(namespace: name, try parser.anyName())
            }
            return .name(name)
        }
        var targets = [try single(&self)]
        var isTuple = false
        while skip(.comma) {
            isTuple = true
            guard case .name(let name) = current.kind, name != "in" else {
                guard isSymbol(.leftParenthesis) else { break }
                targets.append(try single(&self))
                continue
            }
            targets.append(try single(&self))
        }
        return isTuple ? .tuple(targets) : targets[0]
    }

    private mutating func parameters() throws(TemplateError) -> [(name: String, fallback: Expression?)] {
        var parameters: [(name: String, fallback: Expression?)] = []
        try expect(.leftParenthesis)
        while !isSymbol(.rightParenthesis) {
            if !parameters.isEmpty { try expect(.comma) }
            if isSymbol(.rightParenthesis) { break }
            let name = try anyName()
            let fallback = skip(.assign) ? try expression() : nil
            if fallback == nil, parameters.last?.fallback != nil {
                throw error("the parameter '\(name.prefix(40))' needs a default, as the one before it")
            }
            parameters.append((name, fallback))
        }
        try expect(.rightParenthesis)
        return parameters
    }

    private mutating func macro(
        named name: String, parameters: [(name: String, fallback: Expression?)], end: String
    ) throws(TemplateError) -> Jinja.MacroDefinition {
        let outside = loopDepth
        loopDepth = 0
        defer { loopDepth = outside }
        return Jinja.MacroDefinition(name: name, parameters: parameters, body: try body(end: end))
    }
}
