extension Jinja.Renderer {
    typealias Failure = Jinja.Failure
    typealias Value = Jinja.Value
    typealias Text = Jinja.Text
    typealias Statement = Jinja.Statement

    func run(_ statements: [Statement]) throws(Failure) -> Flow {
        try enter()
        defer { leave() }
        for statement in statements {
            line = statement.line
            try meter.charge()
            let flow = try run(statement.kind)
            if flow != .onward { return flow }
        }
        return .onward
    }

    private func run(_ statement: Statement.Kind) throws(Failure) -> Flow {
        switch statement {
        case .text(let text): try write(text)
        case .output(let expression): try write(try evaluate(expression).printed(meter))
        case .conditional(let branches, let otherwise):
            for branch in branches where try evaluate(branch.condition).isTrue { return try run(branch.body) }
            return try run(otherwise)
        case .loop(let loop): return try run(loop)
        case .set(let target, let expression): try assign(try evaluate(expression), to: target)
        case .setBlock(let target, let filter, let body):
            let text = try capture { () throws(Failure) in _ = try scoped { () throws(Failure) in try run(body) } }
            try assign(try apply(filter, to: .text(text)), to: target)
        case .macro(let definition): scope[definition.name] = .macro(try macro(definition))
        case .callBlock(let callee, let arguments, let caller):
            try write(try call(callee, arguments, caller: caller).printed(meter))
        case .filterBlock(let filter, let body):
            let text = try capture { () throws(Failure) in _ = try scoped { () throws(Failure) in try run(body) } }
            try write(try apply(filter, to: .text(text)).printed(meter))
        case .with(let values, let body):
            // None of the values sees the names beside it.
            let values = try evaluate(all: values.map(\.value)).enumerated().map {
                (values[$0.offset].name, $0.element)
            }
            return try scoped { () throws(Failure) in
                for (name, value) in values { scope[name] = value }
                return try run(body)
            }
        case .transparent(let body): return try run(body)
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .onward
    }

    private func run(_ statement: Jinja.ForLoop) throws(Failure) -> Flow {
        let elements = try elements(of: evaluate(statement.iterable))
        var position = 0
        let outside = scope
        let depth = 1 + elements.reduce(0) { max($0, $1.depth) }
        guard depth <= limits.valueDepth else {
            throw Failure("lists are nested more than \(limits.valueDepth) deep", kind: .limit)
        }
        let loop = Jinja.Loop(depth: depth) { [unowned self] () throws(Failure) in
            while position < elements.count {
                let element = elements[position]
                position += 1
                guard let condition = statement.condition else { return element }
                try meter.charge()
                let passes = try scoped(parent: outside) { () throws(Failure) in
                    try assign(element, to: statement.target)
                    return try evaluate(condition).isTrue
                }
                if passes { return element }
            }
            return nil
        }
        defer { loop.finish() }
        while let element = try loop.next() {
            try meter.charge(2)
            let flow = try scoped { () throws(Failure) in
                scope["loop"] = .loop(loop)
                try assign(element, to: statement.target)
                return try run(statement.body)
            }
            if flow == .breakLoop { return .onward }
        }
        return loop.index0 < 0 ? try scoped { () throws(Failure) in try run(statement.otherwise) } : .onward
    }

    func assign(_ value: Value, to target: Jinja.Target) throws(Failure) {
        switch target {
        case .name(let name): scope[name] = value
        case .attribute(let name, let attribute):
            guard case .namespace(let namespace)? = scope[name] else {
                throw Failure("'\(name.prefix(40))' is no namespace, and only those have attributes that can be set")
            }
            namespace.attributes[attribute] = value
        case .tuple(let targets):
            let elements = try elements(of: value)
            guard elements.count == targets.count else {
                throw Failure("\(elements.count) values for \(targets.count) names")
            }
            for (element, target) in zip(elements, targets) { try assign(element, to: target) }
        }
    }

    /// What a `for` walks over: elements, keys, or code points.
    func elements(of value: Value) throws(Failure) -> [Value] {
        switch value {
        case .undefined: return []
        case .list(let list), .tuple(let list): return list.elements
        case .dictionary(let dictionary):
            try meter.charge(dictionary.entries.count)
            return dictionary.entries.map(\.key)
        case .text(let text):
            try meter.charge(text.count)
            return text.scalars.map { .text(text.slice($0.range)) }
        default: throw Failure("\(value.typeName) cannot be walked over")
        }
    }

    func list(_ elements: [Value]) throws(Failure) -> Value {
        try meter.charge(elements.count)
        return .list(try Jinja.List(elements, limits))
    }
}
