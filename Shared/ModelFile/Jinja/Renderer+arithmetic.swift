import Foundation

extension Jinja.Renderer {
    func arithmetic(
        _ first: Expression, _ rest: [(operation: Jinja.ArithmeticOperator, operand: Expression)]
    ) throws(Failure) -> Value {
        var value = try evaluate(first)
        for (operation, operand) in rest { value = try compute(operation, value, evaluate(operand)) }
        return value
    }

    func negative(_ operand: Expression) throws(Failure) -> Value {
        switch try number(evaluate(operand)) {
        case .float(let value): .float(-value)
        case let value: try compute(.subtract, .int(0), value)
        }
    }

    func number(_ value: Value) throws(Failure) -> Value {
        if let integer = value.integer { return .int(integer) }
        guard case .float = value else { throw Failure("\(value.typeName) is no number") }
        return value
    }

    func compute(_ operation: Jinja.ArithmeticOperator, _ a: Value, _ b: Value) throws(Failure) -> Value {
        if case .undefined(let what) = a { throw Failure("\(what.prefix(80)) is undefined") }
        if case .undefined(let what) = b { throw Failure("\(what.prefix(80)) is undefined") }
        if let a = a.integer, let b = b.integer { return try compute(operation, a, b) }
        if let a = a.number, let b = b.number { return .float(try compute(operation, a, b)) }
        switch (operation, a, b) {
        case (.add, .text(var a), .text(let b)):
            try meter.charge(bytes: a.count + b.count)
            a.append(b)
            return .text(a)
        case (.add, .list(let a), .list(let b)): return try list(a.elements + b.elements)
        case (.add, .tuple(let a), .tuple(let b)):
            try meter.charge(a.elements.count + b.elements.count)
            return .tuple(try Jinja.List(a.elements + b.elements, limits))
        case (.multiply, .text(let text), let count), (.multiply, let count, .text(let text)):
            guard let count = count.integer else { break }
            var result = Text()
            for _ in 0..<max(count, 0) {
                try meter.charge(bytes: text.count)
                result.append(text)
            }
            return .text(result)
        case (.multiply, .list(let elements), let count), (.multiply, let count, .list(let elements)):
            guard let count = count.integer else { break }
            var result: [Value] = []
            for _ in 0..<max(count, 0) {
                try meter.charge(1 + elements.elements.count)
                result += elements.elements
            }
            return try list(result)
        case (.modulo, .text(let format), let argument):
            let arguments = if case .tuple(let list) = argument { list.elements } else { [argument] }
            return .text(try percentFormat(format, arguments))
        default: break
        }
        throw Failure("\(a.typeName) and \(b.typeName) cannot be combined by this operator")
    }

    private func compute(_ operation: Jinja.ArithmeticOperator, _ a: Int, _ b: Int) throws(Failure) -> Value {
        func checked(_ result: (partialValue: Int, overflow: Bool)) throws(Failure) -> Value {
            guard !result.overflow else { throw Failure("an integer does not fit 64 bits") }
            return .int(result.partialValue)
        }
        switch operation {
        case .add: return try checked(a.addingReportingOverflow(b))
        case .subtract: return try checked(a.subtractingReportingOverflow(b))
        case .multiply: return try checked(a.multipliedReportingOverflow(by: b))
        case .divide: return .float(try compute(.divide, Double(a), Double(b)))
        case .floorDivide, .modulo:
            guard b != 0 else { throw Failure("division by zero") }
            guard b != -1 else {
                return operation == .modulo ? .int(0) : try checked(Int(0).subtractingReportingOverflow(a))
            }
            // Towards minus infinity, as in Python.
            let floors = a % b != 0 && (a < 0) != (b < 0)
            return .int(operation == .modulo ? (floors ? a % b + b : a % b) : (floors ? a / b - 1 : a / b))
        case .power:
            guard b >= 0 else { return .float(try compute(.power, Double(a), Double(b))) }
            if a == 0 || a == 1 { return .int(b == 0 ? 1 : a) }
            if a == -1 { return .int(b % 2 == 0 ? 1 : -1) }
            guard b < 64 else { throw Failure("an integer does not fit 64 bits") }
            var result = Value.int(1)
            for _ in 0..<b { result = try compute(.multiply, result.integer ?? 0, a) }
            return result
        }
    }

    private func compute(_ operation: Jinja.ArithmeticOperator, _ a: Double, _ b: Double) throws(Failure) -> Double {
        switch operation {
        case .add: return a + b
        case .subtract: return a - b
        case .multiply: return a * b
        case .divide, .floorDivide, .modulo:
            guard b != 0 else { throw Failure("division by zero") }
            if operation == .divide { return a / b }
            let rest = a.truncatingRemainder(dividingBy: b)
            let modulo = rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest
            return operation == .modulo ? modulo : ((a - modulo) / b).rounded()
        case .power:
            let result = Foundation.pow(a, b)
            guard result.isFinite else { throw Failure("a power is out of range") }
            return result
        }
    }

    /// `'%s of %d' % (a, b)`, without widths.
    func percentFormat(_ format: Text, _ arguments: [Value]) throws(Failure) -> Text {
        try meter.charge(bytes: format.count)
        var result = Text()
        var start = 0
        var used = 0
        while let found = try format.find("%", from: start, meter), found + 1 < format.count {
            result.append(format, start..<found)
            start = found + 2
            let conversion = format.bytes[found + 1]
            if conversion == UInt8(ascii: "%") {
                result.append(format, found..<found + 1)
                continue
            }
            guard used < arguments.count else { throw Failure("too few values for a format string") }
            switch conversion {
            case UInt8(ascii: "s"):
                let text = try arguments[used].printed(meter)
                try meter.charge(bytes: text.count)
                result.append(text)
            case UInt8(ascii: "r"): try arguments[used].represent(into: &result, meter)
            case UInt8(ascii: "d"):
                guard let number = arguments[used].number, let value = Int(exactly: number.rounded(.towardZero)) else {
                    throw Failure("%d needs a number")
                }
                result.append(Text(String(arguments[used].integer ?? value)))
            default: throw Failure("a format string with more than %s, %d and %r is not supported")
            }
            used += 1
        }
        guard used == arguments.count else { throw Failure("too many values for a format string") }
        result.append(format, start..<format.count)
        return result
    }
}
