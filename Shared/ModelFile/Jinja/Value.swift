extension Jinja {
    /// What an expression evaluates to. Lists and dictionaries are values: in the immutable sandbox nothing changes them,
    /// so none can hold itself. Namespaces and scopes can, and are emptied after the rendering.
    enum Value {
        /// With what was looked for, for the message of whoever uses it.
        case undefined(String)
        /// `none`, under a name that optionals have not taken.
        case null
        case bool(Bool)
        case int(Int)
        case float(Double)
        case text(Text)
        case list(List)
        case tuple(List)
        case dictionary(Dictionary)
        case namespace(Namespace)
        case loop(Loop)
        case macro(Macro)
        case function(Function)
        case method(Method)
    }

    /// Elements, with how deeply lists lie inside each other.
    struct List {
        let elements: [Value]
        let depth: Int

        init() {
            elements = []
            depth = 1
        }

        init(_ elements: [Value], _ limits: Limits) throws(Failure) {
            self.elements = elements
            depth = 1 + elements.reduce(0) { max($0, $1.depth) }
            guard depth <= limits.valueDepth else {
                throw Failure("lists are nested more than \(limits.valueDepth) deep", kind: .limit)
            }
        }

        /// Elements that are known to hold `depth` levels less one.
        init(_ elements: [Value], depth: Int) {
            self.elements = elements
            self.depth = depth
        }
    }

    /// In the order in which the keys came.
    struct Dictionary {
        /// Equal numbers are the same key, `true` and 1 too.
        enum Key: Hashable {
            case null
            case int(Int)
            case float(Double)
            case text(Text)
        }

        private(set) var entries: [(key: Value, value: Value)] = []
        private var places: [Key: Int] = [:]
        private(set) var depth = 1

        init() {}

        /// Entries that hold no lists.
        init(flat entries: [(String, Value)]) {
            for (key, value) in entries {
                places[.text(Text(key))] = self.entries.count
                self.entries.append((.text(Text(key)), value))
            }
        }

        mutating func set(_ key: Value, _ value: Value, _ limits: Limits) throws(Failure) {
            depth = max(depth, 1 + value.depth)
            guard depth <= limits.valueDepth else {
                throw Failure("dictionaries are nested more than \(limits.valueDepth) deep", kind: .limit)
            }
            guard let place = Self.key(key) else { throw Failure("\(key.typeName) cannot be a key") }
            if let index = places[place] {
                entries[index].value = value
            } else {
                places[place] = entries.count
                entries.append((key, value))
            }
        }

        func get(_ key: Value) -> Value? {
            Self.key(key).flatMap { places[$0] }.map { entries[$0].value }
        }

        subscript(name: String) -> Value? { places[.text(Text(name))].map { entries[$0].value } }

        private static func key(_ value: Value) -> Key? {
            switch value {
            case .null: .null
            case .bool(let value): .int(value ? 1 : 0)
            case .int(let value): .int(value)
            case .float(let value): Int(exactly: value).map { .int($0) } ?? .float(value)
            case .text(let text): .text(text)
            default: nil
            }
        }
    }

    /// `namespace()`: the only thing that a template can change.
    final class Namespace {
        var attributes: [String: Value] = [:]
    }

    /// A macro with the scope that it sees.
    final class Macro {
        let definition: MacroDefinition
        let scope: Scope

        init(_ definition: MacroDefinition, _ scope: Scope) {
            self.definition = definition
            self.scope = scope
        }
    }

    /// A method that is not called at once.
    final class Method {
        let receiver: Value
        let name: String

        init(_ receiver: Value, _ name: String) {
            self.receiver = receiver
            self.name = name
        }
    }

    enum Function: String {
        case range, dict, namespace
        case raise = "raise_exception"
        case now = "strftime_now"
    }
}

extension Jinja.Value {
    static func string(_ text: String) -> Self { .text(Jinja.Text(text)) }

    var depth: Int {
        switch self {
        case .list(let list), .tuple(let list): list.depth
        case .dictionary(let dictionary): dictionary.depth
        case .loop(let loop): loop.depth
        case .method(let method): 1 + method.receiver.depth
        default: 0
        }
    }

    var isTrue: Bool {
        switch self {
        case .undefined, .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .text(let text): !text.isEmpty
        case .list(let list), .tuple(let list): !list.elements.isEmpty
        case .dictionary(let dictionary): !dictionary.entries.isEmpty
        case .namespace, .loop, .macro, .function, .method: true
        }
    }

    /// As Python names it in its messages.
    var typeName: String {
        switch self {
        case .undefined(let what): "the undefined \(what)"
        case .null: "None"
        case .bool: "a boolean"
        case .int: "an integer"
        case .float: "a float"
        case .text: "a string"
        case .list: "a list"
        case .tuple: "a tuple"
        case .dictionary: "a dictionary"
        case .namespace: "a namespace"
        case .loop: "a loop"
        case .macro: "a macro"
        case .function, .method: "a function"
        }
    }

    /// Booleans are integers, as in Python.
    var integer: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    var number: Double? {
        switch self {
        case .float(let value): value
        default: integer.map(Double.init)
        }
    }

    var isDefined: Bool {
        if case .undefined = self { false } else { true }
    }
}
