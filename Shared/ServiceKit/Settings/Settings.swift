/// The environment, read once at start and checked whole: every setting present has a good value, and no name that
/// looks like one of ours is unknown.
public struct Settings: Sendable {
    private let texts: [String: String]

    /// - Throws: `SettingsError` that names every unknown or malformed setting at once.
    public init(environment: [String: String]) throws(SettingsError) {
        var problems: [String] = []
        var texts: [String: String] = [:]
        let known = Dictionary(uniqueKeysWithValues: Settings.catalogue.map { ($0.name, $0) })
        // An empty value is an absent one: compose files pass on variables that nobody set.
        for (name, text) in environment.sorted(by: { $0.key < $1.key }) where !text.isEmpty {
            if let setting = known[name] {
                if let complaint = setting.complaint(about: text) {
                    problems.append(
                        setting.isSecret ? "\(name) \(complaint)" : "\(name)=\(text.prefix(100)) \(complaint)")
                } else {
                    texts[name] = text
                }
            } else {
                let nearest = NearestName.of(name, among: Settings.catalogue.map(\.name))
                let isOurs = Settings.prefixes.contains(where: name.hasPrefix)
                let isSlip = Settings.sharedPrefixes.contains(where: name.hasPrefix) && nearest != nil
                guard isOurs || isSlip else { continue }
                problems.append("\(name) is not a setting\(nearest.map { "; did you mean \($0)?" } ?? "")")
            }
        }
        guard problems.isEmpty else { throw SettingsError(problems: problems) }
        self.texts = texts
    }

    /// The setting's value, or its default's.
    /// - Throws: when a setting without a default is absent.
    public func callAsFunction<Value>(_ setting: Setting<Value>) throws(SettingsError) -> Value {
        guard let text = texts[setting.name] ?? setting.defaultText else {
            throw SettingsError(problems: ["\(setting.name) is not set: \(setting.help)"])
        }
        switch setting.parse(text) {
        case .success(let value): return value
        case .failure(let complaint): throw SettingsError(problems: ["\(setting.name) \(complaint.reason)"])
        }
    }

    /// The setting's value, or nil when it is absent and has no default.
    public func optional<Value>(_ setting: Setting<Value>) throws(SettingsError) -> Value? {
        texts[setting.name] == nil && setting.defaultText == nil ? nil : try self(setting)
    }

    /// Names that begin like this are ours: an unknown one is a slip of the pen, not somebody else's variable.
    private static let prefixes = [
        "ADMISSION_", "ANSWER_CACHE", "DATABASE_", "DEAD_LETTER_", "DEGRADE_", "DETACH_", "ENGINE_",
        "GATEWAY_",
        "ORCHESTRATOR_", "RATE_LIMIT_", "REDIS_", "WORKER_",
    ]

    /// Names that begin like this may well be somebody else's (the broker's own, a shell's): only one that is nearly a
    /// setting's counts as a slip.
    private static let sharedPrefixes = [
        "CHAT_", "LOG_", "MAX_", "MODEL_", "NODE_", "OPERATOR_", "OTEL_", "RABBITMQ_", "TURN_",
    ]
}

/// What is wrong with the environment, a line each.
public struct SettingsError: Error, CustomStringConvertible, Equatable {
    public let problems: [String]

    public init(problems: [String]) { self.problems = problems }

    public var description: String { problems.joined(separator: "\n") }
}
