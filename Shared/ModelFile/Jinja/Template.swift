extension Jinja {
    /// A template, read and checked: ready to be rendered by any number of threads.
    struct Template: Sendable {
        private let statements: [Statement]
        private let limits: Limits

        init(_ text: String, limits: Limits = Limits()) throws(TemplateError) {
            statements = try Parser.parse(text, limits)
            self.limits = limits
        }

        /// - Parameters:
        ///   - context: The names that the template sees.
        ///   - inputBytes: Bytes of the messages in it, which the limit on work grows with.
        func render(
            _ context: [String: Value], inputBytes: Int = 0, now: CivilTime = .now
        ) throws(TemplateError) -> Text {
            try Renderer.render(
                statements, limits, work: limits.work + 8 * inputBytes, now: now, context: context)
        }
    }
}
