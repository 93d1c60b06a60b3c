extension Jinja {
    indirect enum Expression: Sendable {
        case literal(Literal)
        case name(String)
        case list([Expression])
        case tuple([Expression])
        case dictionary([(key: Expression, value: Expression)])
        /// `a.b`
        case attribute(Expression, String)
        /// `a[b]`
        case subscripted(Expression, Expression)
        case slice(Expression, start: Expression?, stop: Expression?, step: Expression?)
        case call(Expression, Arguments)
        /// `a | f(...)`; without `a` inside `{% filter %}` and the block form of `{% set %}`.
        case filter(Filter, Expression?, Arguments)
        case test(Test, Expression, Arguments)
        /// What is not supported, in a template that may never come to it.
        case unsupported(String)
        /// `a + b - c`
        case arithmetic(Expression, [(operation: ArithmeticOperator, operand: Expression)])
        case negative(Expression)
        case positive(Expression)
        /// `a ~ b ~ c`
        case concatenation([Expression])
        /// `a < b <= c`
        case comparison(Expression, [(operation: ComparisonOperator, operand: Expression)])
        case and([Expression])
        case or([Expression])
        case not(Expression)
        /// `value if condition else otherwise`
        case conditional(Expression, condition: Expression, otherwise: Expression?)
    }

    enum Literal: Sendable {
        case null
        case bool(Bool)
        case int(Int)
        case float(Double)
        case text(Text)
    }

    enum ArithmeticOperator: Sendable {
        case add, subtract, multiply, divide, floorDivide, modulo, power
    }

    enum ComparisonOperator: Sendable {
        case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual, isIn, isNotIn
    }

    struct Arguments: Sendable {
        var positional: [Expression] = []
        var named: [(name: String, value: Expression)] = []
    }

    /// Statements of a template, each with the line that it begins at.
    struct Statement: Sendable {
        let line: Int
        let kind: Kind

        indirect enum Kind: Sendable {
            case text(Text)
            case output(Expression)
            case conditional([(condition: Expression, body: [Statement])], otherwise: [Statement])
            case loop(ForLoop)
            case set(Target, Expression)
            /// `{% set x | filter %}...{% endset %}`
            case setBlock(Target, filter: Expression?, body: [Statement])
            case macro(MacroDefinition)
            /// `{% call(...) macro(...) %}...{% endcall %}`
            case callBlock(Expression, Arguments, caller: MacroDefinition)
            case filterBlock(Expression, body: [Statement])
            case with([(name: String, value: Expression)], body: [Statement])
            /// `{% generation %}`, which marks what a model has written, and changes nothing.
            case transparent([Statement])
            case breakLoop
            case continueLoop
        }
    }

    indirect enum Target: Sendable {
        case name(String)
        case attribute(namespace: String, String)
        case tuple([Target])
    }

    struct ForLoop: Sendable {
        let target: Target
        let iterable: Expression
        let condition: Expression?
        let body: [Statement]
        let otherwise: [Statement]
    }

    struct MacroDefinition: Sendable {
        let name: String
        let parameters: [(name: String, fallback: Expression?)]
        let body: [Statement]
    }
}
