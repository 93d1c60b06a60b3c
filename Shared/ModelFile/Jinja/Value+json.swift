extension Jinja {
    /// `tojson` as Hugging Face sets it: `json.dumps` of Python with `ensure_ascii=False`.
    struct JSONWriter {
        /// What one level is indented by; nil writes everything on one line.
        var indent: Text?
        var sortsKeys = false
        var escapesNonASCII = false
        var itemSeparator: Text = ", "
        var keySeparator: Text = ": "
        let meter: Meter
        private(set) var text = Text()

        init(meter: Meter) { self.meter = meter }

        mutating func write(_ value: Value, level: Int = 0) throws(Failure) {
            try meter.charge()
            switch value {
            case .null: text.append("null")
            case .bool(let value): text.append(value ? "true" : "false")
            case .int(let value): text.append(Text(String(value)))
            case .float(let value): text.append(Text(Self.number(value)))
            case .text(let string): try write(string)
            case .list(let list), .tuple(let list): try write(list, level)
            case .dictionary(let dictionary): try write(dictionary, level)
            case .undefined, .namespace, .loop, .macro, .function, .method:
                throw Failure("\(value.typeName) cannot be written as JSON")
            }
        }

        private mutating func write(_ list: List, _ level: Int) throws(Failure) {
            guard !list.elements.isEmpty else { return text.append("[]") }
            text.append("[")
            for (index, element) in list.elements.enumerated() {
                if index > 0 { text.append(itemSeparator) }
                try newline(level + 1)
                try write(element, level: level + 1)
            }
            try newline(level)
            text.append("]")
        }

        private mutating func write(_ dictionary: Dictionary, _ level: Int) throws(Failure) {
            guard !dictionary.entries.isEmpty else { return text.append("{}") }
            text.append("{")
            var entries = dictionary.entries
            if sortsKeys {
                let meter = meter
                entries = try Value.sorted(entries) { (a, b) throws(Failure) in try Value.less(a.key, b.key, meter) }
            }
            for (index, entry) in entries.enumerated() {
                if index > 0 { text.append(itemSeparator) }
                try newline(level + 1)
                switch entry.key {
                case .text(let key): try write(key)
                case .null: try write("null")
                case .bool(let key): try write(key ? "true" : "false")
                case .int(let key): try write(Text(String(key)))
                case .float(let key): try write(Text(Self.number(key)))
                default: throw Failure("\(entry.key.typeName) cannot be a key in JSON")
                }
                text.append(keySeparator)
                try write(entry.value, level: level + 1)
            }
            try newline(level)
            text.append("}")
        }

        private mutating func newline(_ level: Int) throws(Failure) {
            guard let indent else { return }
            try meter.charge(bytes: indent.count * level)
            text.append("\n")
            for _ in 0..<level { text.append(indent) }
        }

        private mutating func write(_ string: Text) throws(Failure) {
            try meter.charge(scalars: string.count)
            text.append("\"")
            var start = 0
            var position = 0
            while position < string.count {
                let scalar = string.scalar(at: position)
                position = scalar.range.upperBound
                guard let escaped = escape(scalar.value) else { continue }
                text.append(string, start..<scalar.range.lowerBound)
                text.append(escaped.utf8, trusted: string.isTrusted(scalar.range.lowerBound))
                start = position
            }
            text.append(string, start..<string.count)
            text.append("\"")
        }

        private func escape(_ scalar: Unicode.Scalar) -> String? {
            switch scalar {
            case "\"": return "\\\""
            case "\\": return "\\\\"
            case "\n": return "\\n"
            case "\r": return "\\r"
            case "\t": return "\\t"
            case "\u{8}": return "\\b"
            case "\u{C}": return "\\f"
            case _ where scalar.value < 0x20: return "\\u" + Value.hex(scalar.value, 4)
            case _ where escapesNonASCII && scalar.value >= 0x7F:
                guard scalar.value != 0x7F else { return nil }
                return UTF16.encode(scalar).map { $0.map { "\\u" + Value.hex(UInt32($0), 4) }.joined() }
            default: return nil
            }
        }

        private static func number(_ value: Double) -> String {
            value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : value.description
        }
    }
}
