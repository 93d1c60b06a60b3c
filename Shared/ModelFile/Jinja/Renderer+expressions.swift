extension Jinja.Renderer {
    typealias Expression = Jinja.Expression

    /// Cases are functions of their own, which keeps the stack frame of this one small: it is what recursion takes.
    func evaluate(_ expression: Expression) throws(Failure) -> Value {
        try meter.charge()
        switch expression {
        case .literal(let literal): return value(of: literal)
        case .name(let name): return scope[name] ?? .undefined("'\(name)'")
        default: break
        }
        try enter()
        defer { leave() }
        switch expression {
        case .literal, .name: return .null
        case .list(let elements): return .list(try list(elements))
        case .tuple(let elements): return .tuple(try list(elements))
        case .dictionary(let entries): return try dictionary(entries)
        case .attribute(let object, let name): return try attribute(name, of: evaluate(object))
        case .subscripted(let object, let index): return try element(evaluate(object), evaluate(index))
        case .slice(let object, let start, let stop, let step): return try slice(object, start, stop, step)
        case .call(let callee, let arguments): return try call(callee, arguments)
        case .filter(let filter, let input, let arguments): return try self.filter(filter, input, arguments)
        case .test(let test, let subject, let arguments): return try self.test(test, subject, arguments)
        case .unsupported(let reason): throw Failure(reason)
        case .arithmetic(let first, let rest): return try arithmetic(first, rest)
        case .negative(let operand): return try negative(operand)
        case .positive(let operand): return try number(evaluate(operand))
        case .concatenation(let parts): return try concatenation(parts)
        case .comparison(let first, let rest): return .bool(try compare(first, rest))
        case .and(let operands): return try firstOf(operands, isTrue: false)
        case .or(let operands): return try firstOf(operands, isTrue: true)
        case .not(let operand): return .bool(try !evaluate(operand).isTrue)
        case .conditional(let value, let condition, let otherwise):
            if try evaluate(condition).isTrue { return try evaluate(value) }
            guard let otherwise else { return .undefined("value of an 'if' without 'else'") }
            return try evaluate(otherwise)
        }
    }

    private func value(of literal: Jinja.Literal) -> Value {
        switch literal {
        case .null: .null
        case .bool(let value): .bool(value)
        case .int(let value): .int(value)
        case .float(let value): .float(value)
        case .text(let text): .text(text)
        }
    }

    func evaluate(all expressions: [Expression]) throws(Failure) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(expressions.count)
        for expression in expressions { values.append(try evaluate(expression)) }
        return values
    }

    private func list(_ elements: [Expression]) throws(Failure) -> Jinja.List {
        try Jinja.List(evaluate(all: elements), limits)
    }

    private func dictionary(_ entries: [(key: Expression, value: Expression)]) throws(Failure) -> Value {
        var dictionary = Jinja.Dictionary()
        for entry in entries { try dictionary.set(try evaluate(entry.key), try evaluate(entry.value), limits) }
        return .dictionary(dictionary)
    }

    private func concatenation(_ parts: [Expression]) throws(Failure) -> Value {
        var text = Text()
        for part in parts {
            let piece = try evaluate(part).printed(meter)
            try meter.charge(bytes: piece.count)
            text.append(piece)
        }
        return .text(text)
    }

    /// The first operand that decides, else the last.
    private func firstOf(_ operands: [Expression], isTrue: Bool) throws(Failure) -> Value {
        var value = Value.null
        for operand in operands {
            value = try evaluate(operand)
            if value.isTrue == isTrue { break }
        }
        return value
    }

    private func compare(
        _ first: Expression, _ rest: [(operation: Jinja.ComparisonOperator, operand: Expression)]
    ) throws(Failure) -> Bool {
        var left = try evaluate(first)
        for (comparison, operand) in rest {
            let right = try evaluate(operand)
            let holds =
                switch comparison {
                case .equal: try Value.equal(left, right, meter)
                case .notEqual: try !Value.equal(left, right, meter)
                case .less: try Value.less(left, right, meter)
                case .lessOrEqual: try Value.lessOrEqual(left, right, meter)
                case .greater: try Value.less(right, left, meter)
                case .greaterOrEqual: try Value.lessOrEqual(right, left, meter)
                case .isIn: try Value.contains(right, left, meter)
                case .isNotIn: try !Value.contains(right, left, meter)
                }
            guard holds else { return false }
            left = right
        }
        return true
    }

    // MARK: Parts of values

    /// `value.name`: a method first, then an entry, as Python's attributes go before keys.
    func attribute(_ name: String, of value: Value) throws(Failure) -> Value {
        if Jinja.methods(of: value).contains(name) { return .method(Jinja.Method(value, name)) }
        switch value {
        case .undefined(let what): throw Failure("\(what.prefix(80)) is undefined")
        case .dictionary(let dictionary): return dictionary[name] ?? .undefined("the key '\(name)'")
        case .namespace(let namespace): return namespace.attributes[name] ?? .undefined("'\(name)' of a namespace")
        case .loop(let loop): return try attribute(name, of: loop)
        case .macro(let macro) where name == "name": return .string(macro.definition.name)
        default: return .undefined("'\(name)' of \(value.typeName)")
        }
    }

    private func attribute(_ name: String, of loop: Jinja.Loop) throws(Failure) -> Value {
        switch name {
        case "index": .int(loop.index0 + 1)
        case "index0": .int(loop.index0)
        case "first": .bool(loop.index0 == 0)
        case "last": .bool(try loop.peek() == nil)
        case "length": .int(try loop.length())
        case "revindex": .int(try loop.length() - loop.index0)
        case "revindex0": .int(try loop.length() - loop.index0 - 1)
        case "previtem": loop.previous ?? .undefined("there is no previous item")
        case "nextitem": try loop.peek() ?? .undefined("there is no next item")
        case "depth": .int(1)
        case "depth0": .int(0)
        default: .undefined("'loop.\(name)'")
        }
    }

    /// `container[index]`: an entry first, then a method.
    func element(_ container: Value, _ index: Value) throws(Failure) -> Value {
        switch (container, index) {
        case (.undefined(let what), _): throw Failure("\(what.prefix(80)) is undefined")
        case (.dictionary(let dictionary), _):
            if let value = dictionary.get(index) { return value }
        case (.list(let list), _), (.tuple(let list), _):
            if let position = index.integer {
                let place = position < 0 ? list.elements.count + position : position
                return list.elements.indices.contains(place)
                    ? list.elements[place] : .undefined("the element \(position)")
            }
        case (.text(let text), _):
            if let position = index.integer {
                let boundaries = try boundaries(text)
                let length = boundaries.count - 1
                let place = position < 0 ? length + position : position
                guard (0..<length).contains(place) else { return .undefined("the character \(position)") }
                return .text(text.slice(boundaries[place]..<boundaries[place + 1]))
            }
        default: break
        }
        guard case .text(let name) = index else { return .undefined("that element") }
        return try attribute(name.string, of: container)
    }

    private func boundaries(_ text: Text) throws(Failure) -> [Int] {
        try meter.charge(bytes: text.count)
        return text.boundaries
    }

    private func slice(
        _ object: Expression, _ start: Expression?, _ stop: Expression?, _ step: Expression?
    ) throws(Failure) -> Value {
        let value = try evaluate(object)
        func bound(_ expression: Expression?) throws(Failure) -> Int? {
            guard let expression else { return nil }
            let value = try evaluate(expression)
            if case .null = value { return nil }
            guard let bound = value.integer else { throw Failure("\(value.typeName) cannot be a bound of a slice") }
            return bound
        }
        let (start, stop, step) = (try bound(start), try bound(stop), try bound(step) ?? 1)
        guard step != 0 else { throw Failure("the step of a slice is 0") }
        switch value {
        case .text(let text):
            let boundaries = try boundaries(text)
            let indices = Jinja.sliceIndices(boundaries.count - 1, start, stop, step)
            if step == 1 {
                guard let first = indices.first, let last = indices.last else { return .text(Text()) }
                return .text(text.slice(boundaries[first]..<boundaries[last + 1]))
            }
            var result = Text()
            for index in indices { result.append(text, boundaries[index]..<boundaries[index + 1]) }
            return .text(result)
        case .list(let list): return try self.list(Jinja.slice(list.elements, start, stop, step))
        case .tuple(let list): return .tuple(try Jinja.List(Jinja.slice(list.elements, start, stop, step), limits))
        case .undefined(let what): throw Failure("\(what.prefix(80)) is undefined")
        default: throw Failure("\(value.typeName) cannot be sliced")
        }
    }
}

extension Jinja {
    /// The indices that Python's `[start:stop:step]` takes of `count` elements.
    static func sliceIndices(_ count: Int, _ start: Int?, _ stop: Int?, _ step: Int) -> [Int] {
        func clamp(_ index: Int, _ low: Int, _ high: Int) -> Int {
            index < 0 ? max(index < -count ? -1 : index + count, low) : min(index, high)
        }
        // No step beyond the length takes more than one element, and none may overflow.
        let step = max(min(step, count + 1), -count - 1)
        if step > 0 {
            let first = start.map { clamp($0, 0, count) } ?? 0
            let last = stop.map { clamp($0, 0, count) } ?? count
            return Array(stride(from: first, to: last, by: step))
        }
        let first = start.map { clamp($0, -1, count - 1) } ?? count - 1
        let last = stop.map { clamp($0, -1, count - 1) } ?? -1
        return Array(stride(from: first, to: last, by: step))
    }

    static func slice(_ elements: [Value], _ start: Int?, _ stop: Int?, _ step: Int) -> [Value] {
        sliceIndices(elements.count, start, stop, step).map { elements[$0] }
    }
}
