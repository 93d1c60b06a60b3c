extension Jinja {
    /// Arguments of a call, evaluated.
    struct Values {
        var positional: [Value] = []
        var named: [(name: String, value: Value)] = []

        /// The argument at `index`, or of this name.
        func get(_ index: Int, _ name: String) -> Value? {
            index < positional.count ? positional[index] : named.first { $0.name == name }?.value
        }

        /// Refuses arguments that nobody reads: none beyond `names`.
        func check(_ what: String, _ names: [String]) throws(Failure) {
            guard positional.count <= names.count else {
                throw Failure("\(what) takes at most \(names.count) arguments")
            }
            for entry in named where !names.dropFirst(positional.count).contains(entry.name) {
                throw Failure("\(what) takes no argument '\(entry.name.prefix(40))'")
            }
        }
    }
}

extension Jinja.Renderer {
    func evaluate(_ arguments: Jinja.Arguments) throws(Failure) -> Jinja.Values {
        var values = Jinja.Values(positional: try evaluate(all: arguments.positional))
        for (name, expression) in arguments.named { values.named.append((name, try evaluate(expression))) }
        return values
    }

    /// - Parameter caller: What `{% call %}` hands to the macro.
    func call(
        _ callee: Expression, _ arguments: Jinja.Arguments, caller: Jinja.MacroDefinition? = nil
    ) throws(Failure) -> Value {
        let function = try evaluate(callee)
        let values = try evaluate(arguments)
        switch function {
        case .macro(let macro): return try call(macro, values, caller: caller)
        case .function(let function): return try call(function, values)
        case .method(let method): return try call(method.name, of: method.receiver, values)
        case .undefined(let what): throw Failure("\(what.prefix(80)) is undefined, and cannot be called")
        default: throw Failure("\(function.typeName) cannot be called")
        }
    }

    private func call(
        _ macro: Jinja.Macro, _ values: Jinja.Values, caller: Jinja.MacroDefinition?
    ) throws(Failure) -> Value {
        let definition = macro.definition
        let callerMacro = try caller.map { (definition) throws(Failure) in try self.macro(definition) }
        try values.check("the macro '\(definition.name.prefix(40))'", definition.parameters.map(\.name))
        let called = line
        let text = try capture { () throws(Failure) in
            try scoped(parent: macro.scope) { () throws(Failure) in
                for (index, parameter) in definition.parameters.enumerated() {
                    if let value = values.get(index, parameter.name) {
                        scope[parameter.name] = value
                    } else if let fallback = parameter.fallback {
                        scope[parameter.name] = try evaluate(fallback)
                    } else {
                        scope[parameter.name] = .undefined("the parameter '\(parameter.name)'")
                    }
                }
                if let callerMacro { scope["caller"] = .macro(callerMacro) }
                _ = try run(definition.body)
            }
        }
        line = called
        return .text(text)
    }

    private func call(_ function: Jinja.Function, _ values: Jinja.Values) throws(Failure) -> Value {
        switch function {
        case .namespace:
            let namespace = try self.namespace()
            for value in values.positional {
                guard case .dictionary(let dictionary) = value else { throw Failure("namespace() takes a dictionary") }
                for (key, value) in dictionary.entries {
                    guard case .text(let name) = key else { continue }
                    namespace.attributes[name.string] = value
                }
            }
            for (name, value) in values.named { namespace.attributes[name] = value }
            return .namespace(namespace)
        case .dict:
            var dictionary = Jinja.Dictionary()
            if let first = values.positional.first {
                guard case .dictionary(let given) = first else { throw Failure("dict() takes a dictionary") }
                try meter.charge(given.entries.count)
                dictionary = given
            }
            for (name, value) in values.named { try dictionary.set(.string(name), value, limits) }
            return .dictionary(dictionary)
        case .range: return try range(values)
        case .raise:
            try values.check("raise_exception", ["message"])
            let message = try values.get(0, "message")?.printed(meter).string ?? ""
            throw Failure(String(message.prefix(500)), kind: .raised)
        case .now:
            try values.check("strftime_now", ["format"])
            guard case .text(let format)? = values.get(0, "format") else {
                throw Failure("strftime_now takes a string")
            }
            try meter.charge(bytes: format.count * 8)
            return .text(Text(try now.formatted(format.string)))
        }
    }

    private func range(_ values: Jinja.Values) throws(Failure) -> Value {
        try values.check("range", ["start", "stop", "step"])
        var bounds: [Int] = []
        for value in values.positional {
            guard let bound = value.integer else { throw Failure("range() takes integers") }
            bounds.append(bound)
        }
        guard let first = bounds.first else { throw Failure("range() takes integers") }
        let (start, stop) = bounds.count > 1 ? (first, bounds[1]) : (0, first)
        let step = bounds.count > 2 ? bounds[2] : 1
        guard step != 0 else { throw Failure("range() takes no step of 0") }
        var elements: [Value] = []
        var next = start
        while step > 0 ? next < stop : next > stop {
            guard elements.count < limits.range else {
                throw Failure("range() of more than \(limits.range) numbers", kind: .limit)
            }
            elements.append(.int(next))
            let (following, overflows) = next.addingReportingOverflow(step)
            if overflows { break }
            next = following
        }
        try meter.charge(elements.count)
        return .list(Jinja.List(elements, depth: 1))
    }
}
