extension Jinja {
    /// One rendering: walks the tree and writes the output.
    final class Renderer {
        let limits: Limits
        let meter: Meter
        let now: CivilTime
        /// Where a failure is reported.
        var line = 1
        var scope: Scope
        var output = Text()
        private var depth = 0
        /// Whatever can hold itself, to be emptied at the end.
        private var namespaces: [Namespace] = []
        private var captured: [Scope] = []

        enum Flow { case onward, breakLoop, continueLoop }

        init(_ limits: Limits, work: Int, now: CivilTime, context: [String: Value]) {
            self.limits = limits
            self.now = now
            meter = Meter(work: work)
            let globals = Scope(parent: nil)
            for function in [Function.range, .dict, .namespace, .raise, .now] {
                globals[function.rawValue] = .function(function)
            }
            for (name, value) in context { globals[name] = value }
            scope = Scope(parent: globals)
        }

        deinit {
            for namespace in namespaces { namespace.attributes = [:] }
            for scope in captured { scope.removeAll() }
        }

        static func render(
            _ statements: [Statement], _ limits: Limits, work: Int, now: CivilTime, context: [String: Value]
        ) throws(TemplateError) -> Text {
            let renderer = Renderer(limits, work: work, now: now, context: context)
            do throws(Failure) {
                _ = try renderer.run(statements)
                return renderer.output
            } catch {
                throw TemplateError(error.reason, line: renderer.line, kind: error.kind)
            }
        }

        /// One level deeper, until `leave`.
        func enter() throws(Failure) {
            guard depth < limits.depth else {
                throw Failure("more than \(limits.depth) levels inside each other", kind: .limit)
            }
            depth += 1
        }

        func leave() { depth -= 1 }

        func write(_ text: Text) throws(Failure) {
            try meter.charge(bytes: text.count)
            output.append(text)
        }

        /// What `body` writes, instead of writing it.
        func capture(_ body: () throws(Failure) -> Void) throws(Failure) -> Text {
            let outside = output
            output = Text()
            defer { output = outside }
            try body()
            return output
        }

        /// Runs `body` in a scope of its own.
        func scoped<Result>(
            parent: Scope? = nil, _ body: () throws(Failure) -> Result
        ) throws(Failure) -> Result {
            let outside = scope
            scope = Scope(parent: parent ?? outside)
            defer { scope = outside }
            return try body()
        }

        func namespace() throws(Failure) -> Namespace {
            try meter.charge(8)
            let namespace = Namespace()
            namespaces.append(namespace)
            return namespace
        }

        func macro(_ definition: MacroDefinition) throws(Failure) -> Macro {
            try meter.charge(8)
            captured.append(scope)
            return Macro(definition, scope)
        }
    }
}
