extension Jinja {
    /// The methods that a value has, and that change nothing.
    static func methods(of value: Value) -> Set<String> {
        switch value {
        case .text: textMethods
        case .dictionary: dictionaryMethods
        case .list, .tuple: listMethods
        case .loop: loopMethods
        default: []
        }
    }

    private static let textMethods: Set<String> = [
        "capitalize", "count", "endswith", "find", "format", "isalnum", "isalpha", "isdigit", "islower", "isspace",
        "isupper", "join", "lower", "lstrip", "removeprefix", "removesuffix", "replace", "rfind", "rsplit", "rstrip",
        "split", "splitlines", "startswith", "strip", "title", "upper",
    ]
    private static let dictionaryMethods: Set<String> = [
        "copy", "get", "items", "keys", "values", "clear", "pop", "popitem", "setdefault", "update",
    ]
    private static let listMethods: Set<String> = [
        "copy", "count", "index", "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
    ]
    private static let loopMethods: Set<String> = ["cycle", "changed"]
}

extension Jinja.Renderer {
    func call(_ name: String, of receiver: Value, _ values: Jinja.Values) throws(Failure) -> Value {
        switch receiver {
        case .text(let text): return try call(name, of: text, values)
        case .dictionary(let dictionary): return try call(name, of: dictionary, values)
        case .list(let list), .tuple(let list):
            if name == "copy" { return receiver }
            return try call(name, of: list.elements, values)
        case .loop(let loop): return try call(name, of: loop, values)
        default: throw Failure("\(receiver.typeName) has no method '\(name.prefix(40))'")
        }
    }

    private func call(
        _ name: String, of dictionary: Jinja.Dictionary, _ values: Jinja.Values
    ) throws(Failure) -> Value {
        try meter.charge(dictionary.entries.count)
        switch name {
        case "get":
            try values.check("get", ["key", "default"])
            guard let key = values.get(0, "key") else { throw Failure("get() takes a key") }
            return dictionary.get(key) ?? values.get(1, "default") ?? .null
        case "items": return try list(items(of: dictionary))
        case "keys": return try list(dictionary.entries.map(\.key))
        case "values": return try list(dictionary.entries.map(\.value))
        case "copy": return .dictionary(dictionary)
        default: throw Failure("'\(name)' would change a dictionary, which templates may not")
        }
    }

    func items(of dictionary: Jinja.Dictionary) throws(Failure) -> [Value] {
        var items: [Value] = []
        for entry in dictionary.entries {
            items.append(.tuple(try Jinja.List([entry.key, entry.value], limits)))
        }
        return items
    }

    private func call(_ name: String, of elements: [Value], _ values: Jinja.Values) throws(Failure) -> Value {
        switch name {
        case "index", "count":
            try values.check(name, ["value"])
            guard let wanted = values.get(0, "value") else { throw Failure("\(name)() takes a value") }
            var found = 0
            for (index, element) in elements.enumerated() where try Value.equal(element, wanted, meter) {
                if name == "index" { return .int(index) }
                found += 1
            }
            guard name == "count" else { throw Failure("index() of a value that is not in the list") }
            return .int(found)
        default: throw Failure("'\(name)' would change a list, which templates may not")
        }
    }

    private func call(_ name: String, of loop: Jinja.Loop, _ values: Jinja.Values) throws(Failure) -> Value {
        if name == "cycle" {
            guard !values.positional.isEmpty else { throw Failure("cycle() takes values") }
            return values.positional[loop.index0 % values.positional.count]
        }
        let last = loop.lastChecked
        loop.lastChecked = values.positional
        guard let last, last.count == values.positional.count else { return .bool(true) }
        for (a, b) in zip(last, values.positional) where try !Value.equal(a, b, meter) { return .bool(true) }
        return .bool(false)
    }
}
