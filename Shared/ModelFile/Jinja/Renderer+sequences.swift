/// Filters that walk over elements.
extension Jinja.Renderer {
    func apply(_ filter: Jinja.Filter, elements value: Value, _ arguments: Jinja.Values) throws(Failure) -> Value {
        let elements = try elements(of: value)
        try meter.charge(elements.count)
        switch filter {
        case .list: return try list(elements)
        case .first: return elements.first ?? .undefined("the first of no elements")
        case .last: return elements.last ?? .undefined("the last of no elements")
        case .reverse:
            guard case .text(let text) = value else { return try list(elements.reversed()) }
            var result = Text()
            for scalar in text.scalars.reversed() { result.append(text, scalar.range) }
            return .text(result)
        case .join:
            try arguments.check("join", ["d", "attribute"])
            let separator = try arguments.get(0, "d")?.printed(meter) ?? Text()
            var result = Text()
            for (index, element) in elements.enumerated() {
                let piece = try key(element, arguments.get(1, "attribute")).printed(meter)
                try meter.charge(bytes: piece.count + separator.count)
                if index > 0 { result.append(separator) }
                result.append(piece)
            }
            return .text(result)
        case .sum:
            try arguments.check("sum", ["attribute", "start"])
            var total = arguments.get(1, "start") ?? .int(0)
            for element in elements {
                total = try compute(.add, total, key(element, arguments.get(0, "attribute")))
            }
            return total
        case .min, .max:
            try arguments.check(filter.rawValue, ["case_sensitive", "attribute"])
            var best: (value: Value, key: Value)?
            for element in elements {
                let key = try folded(
                    key(element, arguments.get(1, "attribute")), arguments.get(0, "case_sensitive"))
                guard let current = best else {
                    best = (element, key)
                    continue
                }
                let isBetter =
                    filter == .min
                    ? try Value.less(key, current.key, meter) : try Value.less(current.key, key, meter)
                if isBetter { best = (element, key) }
            }
            return best?.value ?? .undefined("the \(filter.rawValue)imum of no elements")
        case .sort:
            try arguments.check("sort", ["reverse", "case_sensitive", "attribute"])
            let keyed = try self.keyed(elements, arguments.get(2, "attribute"), arguments.get(1, "case_sensitive"))
            let isDescending = arguments.get(0, "reverse")?.isTrue ?? false
            let sorted = try Value.sorted(keyed) { (a, b) throws(Failure) in
                try isDescending ? Value.less(b.key, a.key, meter) : Value.less(a.key, b.key, meter)
            }
            return try list(sorted.map(\.value))
        case .unique:
            try arguments.check("unique", ["case_sensitive", "attribute"])
            let keyed = try self.keyed(elements, arguments.get(1, "attribute"), arguments.get(0, "case_sensitive"))
            var seen = Jinja.Dictionary()
            var result: [Value] = []
            for (value, key) in keyed where seen.get(key) == nil {
                try seen.set(key, .null, limits)
                result.append(value)
            }
            return try list(result)
        default: return value
        }
    }

    private func keyed(
        _ elements: [Value], _ attribute: Value?, _ caseSensitive: Value?
    ) throws(Failure) -> [(value: Value, key: Value)] {
        var keyed: [(value: Value, key: Value)] = []
        for element in elements { keyed.append((element, try folded(key(element, attribute), caseSensitive))) }
        return keyed
    }

    /// Strings are compared in lower case unless asked otherwise.
    private func folded(_ value: Value, _ caseSensitive: Value?) throws(Failure) -> Value {
        guard case .text(let text) = value, caseSensitive?.isTrue != true else { return value }
        try meter.charge(bytes: text.count)
        return .text(text.lowercased)
    }

    /// What `attribute='a.b'` finds in an element; the element itself without one.
    /// - Parameter fallback: Stands for each part of the way that is undefined.
    private func key(_ element: Value, _ attribute: Value?, fallback: Value? = nil) throws(Failure) -> Value {
        switch attribute {
        case nil, .null?: return element
        case .int?:
            let found = try self.element(element, attribute ?? .null)
            return found.isDefined ? found : fallback ?? found
        case .text(let path)?:
            var value = element
            for name in try path.split(".", meter) {
                let index = Int(name.string).map { Value.int($0) } ?? .text(name)
                let found = try self.element(value, index)
                value = found.isDefined ? found : fallback ?? found
            }
            return value
        default: throw Failure("an attribute is named by a string")
        }
    }

    func sortedItems(_ value: Value, _ arguments: Jinja.Values) throws(Failure) -> Value {
        try arguments.check("dictsort", ["case_sensitive", "by", "reverse"])
        guard case .dictionary(let dictionary) = value else {
            throw Failure("the filter 'dictsort' is for dictionaries")
        }
        var byValue = false
        if case .text(let by)? = arguments.get(1, "by") {
            guard by == "key" || by == "value" else { throw Failure("dictsort is by 'key' or by 'value'") }
            byValue = by == "value"
        }
        let isDescending = arguments.get(2, "reverse")?.isTrue ?? false
        var keyed: [(value: Value, key: Value)] = []
        for (entry, item) in zip(dictionary.entries, try items(of: dictionary)) {
            keyed.append((item, try folded(byValue ? entry.value : entry.key, arguments.get(0, "case_sensitive"))))
        }
        let sorted = try Value.sorted(keyed) { (a, b) throws(Failure) in
            try isDescending ? Value.less(b.key, a.key, meter) : Value.less(a.key, b.key, meter)
        }
        return try list(sorted.map(\.value))
    }

    /// `map`, and the four that keep some elements.
    func choose(_ filter: Jinja.Filter, _ value: Value, _ arguments: Jinja.Values) throws(Failure) -> Value {
        // As in jinja2, which looks at no element of what is not true.
        let elements = value.isTrue ? try elements(of: value) : []
        try meter.charge(elements.count * 2)
        var rest = arguments
        var attribute: Value?
        if filter == .selectattr || filter == .rejectattr {
            guard !rest.positional.isEmpty else { throw Failure("the filter '\(filter.rawValue)' takes an attribute") }
            attribute = rest.positional.removeFirst()
        }
        if filter == .map {
            if let path = arguments.named.first(where: { $0.name == "attribute" }) {
                try arguments.check("map", ["attribute", "default"])
                let fallback = arguments.named.first { $0.name == "default" }?.value
                return try list(
                    try elements.map { (element) throws(Failure) in try key(element, path.value, fallback: fallback) })
            }
            guard let named = rest.positional.first, case .text(let name) = named,
                let inner = Jinja.Filter(name: name.string)
            else { throw Failure("the filter 'map' takes an attribute, or the name of a filter that is supported") }
            rest.positional.removeFirst()
            return try list(
                try elements.map { (element) throws(Failure) in
                    try enter()
                    defer { leave() }
                    return try apply(inner, element, rest)
                })
        }
        var test: Jinja.Test?
        if let named = rest.positional.first {
            guard case .text(let name) = named, let found = Jinja.Test(name: name.string) else {
                throw Failure("the filter '\(filter.rawValue)' takes the name of a test that is supported")
            }
            test = found
            rest.positional.removeFirst()
        }
        let keeps = filter == .select || filter == .selectattr
        var result: [Value] = []
        for element in elements {
            let subject = try key(element, attribute)
            let passes = if let test { try self.test(test, subject, rest) } else { subject.isTrue }
            if passes == keeps { result.append(element) }
        }
        return try list(result)
    }
}
