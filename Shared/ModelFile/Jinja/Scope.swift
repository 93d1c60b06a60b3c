extension Jinja {
    /// Names and their values; those of the scopes around it are seen through it, and hidden by `set`.
    final class Scope {
        let parent: Scope?
        private var values: [String: Value] = [:]

        init(parent: Scope?) { self.parent = parent }

        subscript(name: String) -> Value? {
            get {
                var scope: Scope? = self
                while let current = scope {
                    if let value = current.values[name] { return value }
                    scope = current.parent
                }
                return nil
            }
            set { values[name] = newValue }
        }

        func removeAll() { values = [:] }
    }

    /// What `loop` is inside a `for`. Elements are filtered one after the other, as far as anybody looks.
    final class Loop {
        /// The elements that the condition lets through; nil at the end.
        private var advance: (() throws(Failure) -> Value?)?
        private var ahead: Value?
        private(set) var previous: Value?
        private(set) var current: Value?
        private(set) var index0 = -1
        let depth: Int
        var lastChecked: [Value]?

        init(depth: Int, _ advance: @escaping () throws(Failure) -> Value?) {
            self.advance = advance
            self.depth = depth
        }

        func next() throws(Failure) -> Value? {
            let following = try peek()
            ahead = nil
            guard let following else { return nil }
            previous = current
            current = following
            index0 += 1
            return following
        }

        func peek() throws(Failure) -> Value? {
            if ahead == nil { ahead = try advance?() }
            return ahead
        }

        /// How many elements there are in all, which looks at all of them.
        func length() throws(Failure) -> Int {
            var rest: [Value] = []
            while let value = try peek() {
                rest.append(value)
                ahead = nil
            }
            var position = 0
            advance = { () throws(Failure) in
                guard position < rest.count else { return nil }
                position += 1
                return rest[position - 1]
            }
            return index0 + 1 + rest.count
        }

        /// The elements belong to the scope around: a loop that outlives it keeps its numbers only.
        func finish() { advance = nil }
    }
}
