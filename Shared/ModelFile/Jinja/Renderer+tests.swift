extension Jinja.Renderer {
    func test(_ test: Jinja.Test, _ subject: Expression, _ arguments: Jinja.Arguments) throws(Failure) -> Value {
        .bool(try self.test(test, evaluate(subject), evaluate(arguments)))
    }

    /// `value is test(...)`
    func test(_ test: Jinja.Test, _ value: Value, _ arguments: Jinja.Values) throws(Failure) -> Bool {
        func argument() throws(Failure) -> Value {
            guard let value = arguments.positional.first else {
                throw Failure("the test '\(test.rawValue)' takes an argument")
            }
            return value
        }
        func integer(_ value: Value) throws(Failure) -> Int {
            guard let integer = value.integer else { throw Failure("the test '\(test.rawValue)' is for integers") }
            return integer
        }
        switch test {
        case .defined: return value.isDefined
        case .undefined: return !value.isDefined
        case .none: if case .null = value { return true } else { return false }
        case .string: if case .text = value { return true } else { return false }
        case .mapping: if case .dictionary = value { return true } else { return false }
        case .boolean: if case .bool = value { return true } else { return false }
        case .integer: if case .int = value { return true } else { return false }
        case .float: if case .float = value { return true } else { return false }
        case .number: return value.number != nil
        case .isTrue: if case .bool(true) = value { return true } else { return false }
        case .isFalse: if case .bool(false) = value { return true } else { return false }
        case .iterable:
            switch value {
            case .undefined, .text, .list, .tuple, .dictionary, .loop: return true
            default: return false
            }
        case .sequence:
            switch value {
            case .undefined, .text, .list, .tuple, .dictionary: return true
            default: return false
            }
        case .callable:
            switch value {
            case .macro, .function, .method, .undefined: return true
            default: return false
            }
        case .even: return try integer(value) % 2 == 0
        case .odd: return try integer(value) % 2 != 0
        case .divisibleby:
            let divisor = try integer(argument())
            guard divisor != 0 else { throw Failure("division by zero") }
            if divisor == -1 { return true }
            return try integer(value) % divisor == 0
        case .lower: return try call("islower", of: .text(value.printed(meter)), Jinja.Values()).isTrue
        case .upper: return try call("isupper", of: .text(value.printed(meter)), Jinja.Values()).isTrue
        case .sameas:
            // Only what is one of its kind can be the same in a way that does not depend on Python's memory.
            switch (value, try argument()) {
            case (.null, .null): return true
            case (.bool(let a), .bool(let b)): return a == b
            case (.namespace(let a), .namespace(let b)): return a === b
            default: return false
            }
        case .in: return try Value.contains(argument(), value, meter)
        case .eq: return try Value.equal(value, argument(), meter)
        case .ne: return try !Value.equal(value, argument(), meter)
        case .lt: return try Value.less(value, argument(), meter)
        case .gt: return try Value.less(argument(), value, meter)
        case .le: return try Value.lessOrEqual(value, argument(), meter)
        case .ge: return try Value.lessOrEqual(argument(), value, meter)
        }
    }
}
