extension Jinja.Value {
    /// Python's `str`, which is what `{{ }}` writes.
    func printed(_ meter: Jinja.Meter) throws(Jinja.Failure) -> Jinja.Text {
        switch self {
        case .undefined: return Jinja.Text()
        case .text(let text): return text
        default:
            var text = Jinja.Text()
            try represent(into: &text, meter)
            return text
        }
    }

    /// Python's `repr`.
    func represent(into text: inout Jinja.Text, _ meter: Jinja.Meter) throws(Jinja.Failure) {
        try meter.charge()
        switch self {
        case .undefined: text.append("Undefined")
        case .null: text.append("None")
        case .bool(let value): text.append(value ? "True" : "False")
        case .int(let value): text.append(Jinja.Text(String(value)))
        case .float(let value): text.append(Jinja.Text(Self.python(value)))
        case .text(let string): try Self.quote(string, into: &text, meter)
        case .list(let list):
            text.append("[")
            try represent(list.elements, into: &text, meter)
            text.append("]")
        case .tuple(let list):
            text.append("(")
            try represent(list.elements, into: &text, meter)
            text.append(list.elements.count == 1 ? ",)" : ")")
        case .dictionary(let dictionary):
            text.append("{")
            for (index, entry) in dictionary.entries.enumerated() {
                if index > 0 { text.append(", ") }
                try entry.key.represent(into: &text, meter)
                text.append(": ")
                try entry.value.represent(into: &text, meter)
            }
            text.append("}")
        case .namespace, .loop, .macro, .function, .method:
            // Python would print addresses, or what can hold itself.
            throw Jinja.Failure("\(typeName) cannot be printed")
        }
    }

    private func represent(
        _ elements: [Jinja.Value], into text: inout Jinja.Text, _ meter: Jinja.Meter
    ) throws(Jinja.Failure) {
        for (index, element) in elements.enumerated() {
            if index > 0 { text.append(", ") }
            try element.represent(into: &text, meter)
        }
    }

    static func python(_ value: Double) -> String {
        value.isNaN ? "nan" : value.isInfinite ? (value < 0 ? "-inf" : "inf") : value.description
    }

    private static func quote(
        _ string: Jinja.Text, into text: inout Jinja.Text, _ meter: Jinja.Meter
    ) throws(Jinja.Failure) {
        try meter.charge(scalars: string.count)
        let quote = string.bytes.contains(0x27) && !string.bytes.contains(0x22) ? "\"" : "'"
        text.append(quote.utf8, trusted: true)
        for scalar in string.scalars {
            let trusted = string.isTrusted(scalar.range.lowerBound)
            let escaped: String
            switch scalar.value {
            case "\n": escaped = "\\n"
            case "\r": escaped = "\\r"
            case "\t": escaped = "\\t"
            case "\\": escaped = "\\\\"
            case "'" where quote == "'": escaped = "\\'"
            case let value where value.isPythonPrintable:
                text.append(string, scalar.range)
                continue
            case let value:
                let code = value.value
                escaped =
                    code < 0x100
                    ? "\\x" + Self.hex(code, 2)
                    : code < 0x1_0000 ? "\\u" + Self.hex(code, 4) : "\\U" + Self.hex(code, 8)
            }
            text.append(escaped.utf8, trusted: trusted)
        }
        text.append(quote.utf8, trusted: true)
    }

    static func hex(_ value: UInt32, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(digits - text.count, 0)) + text
    }
}
