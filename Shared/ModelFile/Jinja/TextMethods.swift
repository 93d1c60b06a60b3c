extension Jinja.Renderer {
    /// The methods of Python's `str` that templates use.
    func call(_ name: String, of text: Text, _ values: Jinja.Values) throws(Failure) -> Value {
        try meter.charge(scalars: text.count)
        func argument(_ index: Int, _ parameter: String) throws(Failure) -> Text? {
            switch values.get(index, parameter) {
            case nil, .null?: return nil
            case .text(let text)?: return text
            case let other?: throw Failure("\(name)() takes a string, not \(other.typeName)")
            }
        }
        func required(_ index: Int, _ parameter: String) throws(Failure) -> Text {
            guard let text = try argument(index, parameter) else { throw Failure("\(name)() takes a string") }
            return text
        }
        func limit(_ index: Int, _ parameter: String) throws(Failure) -> Int {
            guard let value = values.get(index, parameter) else { return .max }
            guard let limit = value.integer else { throw Failure("\(name)() takes an integer as its \(parameter)") }
            return limit < 0 ? .max : limit
        }
        func texts(_ pieces: [Text]) throws(Failure) -> Value { try list(pieces.map { .text($0) }) }

        switch name {
        case "upper": return .text(text.uppercased)
        case "lower": return .text(text.lowercased)
        case "capitalize": return .text(text.capitalized)
        case "title": return .text(text.titlecased { !$0.properties.isCased })
        case "strip", "lstrip", "rstrip":
            try values.check(name, ["chars"])
            let characters = try argument(0, "chars")
            return .text(text.stripped(characters, left: name != "rstrip", right: name != "lstrip"))
        case "split", "rsplit":
            try values.check(name, ["sep", "maxsplit"])
            let limit = try limit(1, "maxsplit")
            guard let separator = try argument(0, "sep") else {
                guard name == "split" || limit == .max else { throw Failure("rsplit() of words is not supported") }
                return try texts(text.words(limit: limit, meter))
            }
            guard !separator.isEmpty else { throw Failure("\(name)() takes a separator that is not empty") }
            return try texts(
                name == "split" || limit == .max
                    ? text.split(separator, limit: limit, meter)
                    : text.splitFromEnd(separator, limit: limit, meter))
        case "splitlines":
            try values.check(name, ["keepends"])
            return try texts(text.lines(keepingEnds: values.get(0, "keepends")?.isTrue ?? false))
        case "startswith", "endswith":
            try values.check(name, ["prefix"])
            var candidates: [Text] = []
            if case .tuple(let list)? = values.get(0, "prefix") {
                for case .text(let text) in list.elements { candidates.append(text) }
            } else {
                candidates = [try required(0, "prefix")]
            }
            return .bool(candidates.contains { name == "startswith" ? text.hasPrefix($0) : text.hasSuffix($0) })
        case "removeprefix":
            let prefix = try required(0, "prefix")
            return .text(text.hasPrefix(prefix) ? text.slice(prefix.count..<text.count) : text)
        case "removesuffix":
            let suffix = try required(0, "suffix")
            return .text(text.hasSuffix(suffix) ? text.slice(0..<text.count - suffix.count) : text)
        case "replace":
            try values.check(name, ["old", "new", "count"])
            return .text(
                try text.replacing(required(0, "old"), by: required(1, "new"), limit: limit(2, "count"), meter))
        case "find", "rfind":
            try values.check(name, ["sub"])
            let pattern = try required(0, "sub")
            var found = try text.find(pattern, meter)
            if name == "rfind" {
                var next = found
                while let place = next, place < text.count, !pattern.isEmpty {
                    found = place
                    next = try text.find(pattern, from: place + 1, meter)
                }
                if pattern.isEmpty { found = text.count }
            }
            return .int(found.map { text.slice(0..<$0).length } ?? -1)
        case "count":
            try values.check(name, ["sub"])
            let pattern = try required(0, "sub")
            if pattern.isEmpty { return .int(text.length + 1) }
            return .int(try text.split(pattern, meter).count - 1)
        case "join":
            try values.check(name, ["iterable"])
            var result = Text()
            for (index, element) in try elements(of: values.get(0, "iterable") ?? .null).enumerated() {
                guard case .text(let piece) = element else { throw Failure("join() takes strings") }
                try meter.charge(bytes: piece.count + text.count)
                if index > 0 { result.append(text) }
                result.append(piece)
            }
            return .text(result)
        case "format": return .text(try braceFormat(text, values))
        default: return .bool(has(name, text))
        }
    }

    private func has(_ name: String, _ text: Text) -> Bool {
        func all(_ isWanted: (Unicode.Scalar) -> Bool) -> Bool {
            !text.isEmpty && text.scalars.allSatisfy { isWanted($0.value) }
        }
        func cased(_ isWrong: (Unicode.Scalar) -> Bool) -> Bool {
            text.scalars.contains { $0.value.properties.isCased } && !text.scalars.contains { isWrong($0.value) }
        }
        return switch name {
        case "isdigit": all { $0.properties.numericType == .decimal || $0.properties.numericType == .digit }
        case "isalpha": all(\.isLetter)
        case "isalnum": all { $0.isLetter || $0.properties.numericType != nil }
        case "isspace": all(\.isPythonSpace)
        case "isupper": cased(\.properties.isLowercase)
        case "islower": cased(\.properties.isUppercase)
        default: false
        }
    }

    /// `'{} of {name}'.format(a, name=b)`, without format specifications.
    private func braceFormat(_ format: Text, _ values: Jinja.Values) throws(Failure) -> Text {
        var result = Text()
        var position = 0
        var automatic = 0
        while position < format.count {
            let byte = format.bytes[position]
            guard byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}") else {
                result.append(format, position..<position + 1)
                position += 1
                continue
            }
            if position + 1 < format.count, format.bytes[position + 1] == byte {
                result.append(format, position..<position + 1)
                position += 2
                continue
            }
            guard byte == UInt8(ascii: "{"), let end = try format.find("}", from: position, meter) else {
                throw Failure("a format string with a single brace")
            }
            let field = format.slice(position + 1..<end).string
            let value: Value?
            if field.isEmpty {
                value = automatic < values.positional.count ? values.positional[automatic] : nil
                automatic += 1
            } else if let index = Int(field) {
                value = values.positional.indices.contains(index) ? values.positional[index] : nil
            } else {
                value = values.named.first { $0.name == field }?.value
            }
            guard let value else { throw Failure("no value for '{\(field.prefix(40))}' of a format string") }
            let text = try value.printed(meter)
            try meter.charge(bytes: text.count)
            result.append(text)
            position = end + 1
        }
        return result
    }
}

extension Unicode.Scalar {
    fileprivate var isLetter: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }
}
