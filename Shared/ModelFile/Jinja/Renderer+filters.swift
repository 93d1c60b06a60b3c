extension Jinja.Renderer {
    func filter(
        _ filter: Jinja.Filter, _ input: Expression?, _ arguments: Jinja.Arguments
    ) throws(Failure) -> Value {
        guard let input else { throw Failure("the filter '\(filter.rawValue)' has no input") }
        return try apply(filter, evaluate(input), evaluate(arguments))
    }

    /// The filters after `{% filter`, or after the name in the block form of `{% set %}`: they have no input of their own.
    func apply(_ chain: Expression?, to value: Value) throws(Failure) -> Value {
        if case .unsupported(let reason) = chain { throw Failure(reason) }
        guard case .filter(let filter, let input, let arguments) = chain else { return value }
        try enter()
        defer { leave() }
        return try apply(filter, apply(input, to: value), evaluate(arguments))
    }

    func apply(_ filter: Jinja.Filter, _ value: Value, _ arguments: Jinja.Values) throws(Failure) -> Value {
        switch filter {
        case .fallback:
            try arguments.check("default", ["default_value", "boolean"])
            let replaces = arguments.get(1, "boolean")?.isTrue == true ? !value.isTrue : !value.isDefined
            return replaces ? arguments.get(0, "default_value") ?? .text(Text()) : value
        case .capitalize, .escape, .indent, .lower, .replace, .string, .title, .trim, .upper:
            return .text(try apply(filter, text: value.printed(meter), arguments))
        case .format:
            guard case .text(let format) = value else { throw Failure("the filter 'format' is for strings") }
            return .text(try percentFormat(format, arguments.positional))
        case .safe: return value
        case .abs, .float, .int, .round: return try apply(filter, number: value, arguments)
        case .length: return .int(try length(of: value))
        case .tojson: return .text(try json(value, arguments))
        case .items:
            switch value {
            case .undefined: return .list(Jinja.List())
            case .dictionary(let dictionary): return try list(items(of: dictionary))
            default: throw Failure("the filter 'items' is for dictionaries")
            }
        case .dictsort: return try sortedItems(value, arguments)
        case .first, .last, .list, .join, .max, .min, .reverse, .sort, .sum, .unique:
            return try apply(filter, elements: value, arguments)
        case .map, .select, .reject, .selectattr, .rejectattr:
            return try choose(filter, value, arguments)
        }
    }

    private func apply(_ filter: Jinja.Filter, text: Text, _ arguments: Jinja.Values) throws(Failure) -> Text {
        try meter.charge(scalars: text.count)
        switch filter {
        case .capitalize: return text.capitalized
        case .lower: return text.lowercased
        case .upper: return text.uppercased
        case .title: return text.titlecased { $0.isPythonSpace || "-({[<".unicodeScalars.contains($0) }
        case .escape:
            return text.mapScalars { scalar in
                switch scalar {
                case "&": "&amp;"
                case "<": "&lt;"
                case ">": "&gt;"
                case "'": "&#39;"
                case "\"": "&#34;"
                default: String(scalar)
                }
            }
        case .trim:
            try arguments.check("trim", ["chars"])
            guard case .text(let characters)? = arguments.get(0, "chars") else { return text.stripped() }
            return text.stripped(characters)
        case .replace:
            try arguments.check("replace", ["old", "new", "count"])
            guard let old = arguments.get(0, "old"), let new = arguments.get(1, "new") else {
                throw Failure("the filter 'replace' takes two strings")
            }
            return try text.replacing(
                old.printed(meter), by: new.printed(meter), limit: arguments.get(2, "count")?.integer ?? .max, meter)
        case .indent: return try indent(text, arguments)
        default: return text
        }
    }

    private func indent(_ text: Text, _ arguments: Jinja.Values) throws(Failure) -> Text {
        try arguments.check("indent", ["width", "first", "blank"])
        var indentation = Text("    ")
        switch arguments.get(0, "width") {
        case nil: break
        case .text(let given)?: indentation = given
        case let width?:
            guard let width = width.integer else { throw Failure("the filter 'indent' takes a width") }
            try meter.charge(bytes: max(width, 0))
            indentation = Text(String(repeating: " ", count: max(width, 0)))
        }
        let blank = arguments.get(2, "blank")?.isTrue ?? false
        // A line end at the end begins no line of its own that would count.
        var padded = text
        padded.append("\n")
        let lines = padded.lines()
        var result = Text()
        for (index, line) in lines.enumerated() {
            if index > 0 { result.append("\n") }
            let indents = index == 0 ? arguments.get(1, "first")?.isTrue ?? false : blank || !line.isEmpty
            if indents {
                try meter.charge(bytes: indentation.count)
                result.append(indentation)
            }
            result.append(line)
        }
        return result
    }

    private func apply(
        _ filter: Jinja.Filter, number value: Value, _ arguments: Jinja.Values
    ) throws(Failure) -> Value {
        if case .undefined(let what) = value { throw Failure("\(what.prefix(80)) is undefined") }
        switch filter {
        case .abs:
            if let integer = value.integer {
                guard integer != .min else { throw Failure("an integer does not fit 64 bits") }
                return .int(Swift.abs(integer))
            }
            guard let number = value.number else { throw Failure("the filter 'abs' is for numbers") }
            return .float(Swift.abs(number))
        case .float:
            if let number = value.number { return .float(number) }
            if case .text(let text) = value, let number = Double(text.stripped().string) { return .float(number) }
            return arguments.get(0, "default") ?? .float(0)
        case .int:
            if let integer = value.integer { return .int(integer) }
            var number = value.number
            if case .text(let text) = value {
                let digits = text.stripped().string
                let base = arguments.get(1, "base")?.integer ?? 10
                guard (2...36).contains(base) else { throw Failure("the filter 'int' takes a base of 2 to 36") }
                if let integer = Int(digits, radix: base) { return .int(integer) }
                number = Double(digits)
            }
            if let number, let integer = Int(exactly: number.rounded(.towardZero)) { return .int(integer) }
            return arguments.get(0, "default") ?? .int(0)
        default:
            try arguments.check("round", ["precision", "method"])
            guard let number = value.number else { throw Failure("the filter 'round' is for numbers") }
            let precision = arguments.get(0, "precision")?.integer ?? 0
            guard (-15...15).contains(precision) else { throw Failure("the filter 'round' takes a precision to 15") }
            var rule = FloatingPointRoundingRule.toNearestOrEven
            if case .text(let method)? = arguments.get(1, "method") {
                switch method.string {
                case "ceil": rule = .up
                case "floor": rule = .down
                case "common": break
                default: throw Failure("the filter 'round' has no such method")
                }
            }
            var scale = 1.0
            for _ in 0..<Swift.abs(precision) { scale *= 10 }
            let rounded =
                precision >= 0 ? (number * scale).rounded(rule) / scale : (number / scale).rounded(rule) * scale
            if value.integer != nil, rule == .toNearestOrEven { return Int(exactly: rounded).map { .int($0) } ?? value }
            return .float(rounded)
        }
    }

    private func length(of value: Value) throws(Failure) -> Int {
        switch value {
        case .undefined: return 0
        case .text(let text):
            try meter.charge(bytes: text.count)
            return text.length
        case .list(let list), .tuple(let list): return list.elements.count
        case .dictionary(let dictionary): return dictionary.entries.count
        case .loop(let loop): return try loop.length()
        default: throw Failure("\(value.typeName) has no length")
        }
    }

    private func json(_ value: Value, _ arguments: Jinja.Values) throws(Failure) -> Text {
        try arguments.check("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])
        var writer = Jinja.JSONWriter(meter: meter)
        writer.escapesNonASCII = arguments.get(0, "ensure_ascii")?.isTrue ?? false
        writer.sortsKeys = arguments.get(3, "sort_keys")?.isTrue ?? false
        switch arguments.get(1, "indent") {
        case nil, .null?: break
        case .text(let indent)?: writer.indent = indent
        case let width?:
            guard let width = width.integer, width <= 100 else { throw Failure("tojson takes an indent up to 100") }
            writer.indent = Text(String(repeating: " ", count: max(width, 0)))
        }
        if writer.indent != nil { writer.itemSeparator = "," }
        switch arguments.get(2, "separators") {
        case nil, .null?: break
        case .list(let list)?, .tuple(let list)?:
            guard list.elements.count == 2, case .text(let item) = list.elements[0],
                case .text(let key) = list.elements[1]
            else { throw Failure("tojson takes two separators") }
            writer.itemSeparator = item
            writer.keySeparator = key
        default: throw Failure("tojson takes two separators")
        }
        try writer.write(value)
        return writer.text
    }
}
