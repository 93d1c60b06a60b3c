/// One setting of the environment: its name, its default, what it means, and how its text becomes a value.
///
/// Every setting stands in `Settings.catalogue`; help texts, `.env.example` and the check for unknown names come from there.
public struct Setting<Value: Sendable>: Sendable {
    public let name: String
    /// The text that stands when the variable is absent; nil makes the setting required.
    public let defaultText: String?
    public let help: String
    /// A secret is never printed, in errors either.
    public let isSecret: Bool
    /// The value, or why the text is none ("is not a number").
    let parse: @Sendable (String) -> Result<Value, Complaint>

    struct Complaint: Error {
        let reason: String
    }

    init(
        _ name: String, default defaultText: String?, help: String, isSecret: Bool = false,
        parse: @escaping @Sendable (String) -> Result<Value, Complaint>
    ) {
        self.name = name
        self.defaultText = defaultText
        self.help = help
        self.isSecret = isSecret
        self.parse = parse
    }
}

/// A setting without its type, as the catalogue lists it.
protocol AnySetting: Sendable {
    var name: String { get }
    var defaultText: String? { get }
    var help: String { get }
    var isSecret: Bool { get }
    func complaint(about text: String) -> String?
}

extension Setting: AnySetting {
    func complaint(about text: String) -> String? {
        if case .failure(let complaint) = parse(text) { complaint.reason } else { nil }
    }
}

extension Setting where Value == String {
    static func text(_ name: String, default text: String?, help: String, isSecret: Bool = false) -> Setting {
        Setting(name, default: text, help: help, isSecret: isSecret) { .success($0) }
    }
}

extension Setting where Value == Int {
    static func integer(_ name: String, default value: Int?, in range: ClosedRange<Int>, help: String) -> Setting {
        Setting(name, default: value.map(String.init), help: help) { text in
            guard let number = Int(text) else { return .failure(.init(reason: "is not a whole number")) }
            guard range.contains(number) else {
                return .failure(.init(reason: "is not between \(range.lowerBound) and \(range.upperBound)"))
            }
            return .success(number)
        }
    }
}

extension Setting where Value == KVBlocks {
    static func kvBlocks(
        _ name: String, default text: String, in range: ClosedRange<Int>, help: String
    ) -> Setting {
        Setting(name, default: text, help: help) { text in
            if text == "auto" { return .success(.automatic) }
            guard let number = Int(text), range.contains(number) else {
                return .failure(
                    .init(reason: "is neither auto nor between \(range.lowerBound) and \(range.upperBound)"))
            }
            return .success(.count(number))
        }
    }
}

extension Setting where Value == Double {
    static func number(_ name: String, default value: Double, in range: ClosedRange<Double>, help: String) -> Setting {
        Setting(name, default: PlainNumber.text(value), help: help) { text in
            guard let number = Double(text) else { return .failure(.init(reason: "is not a number")) }
            guard range.contains(number) else {
                let (lower, upper) = (PlainNumber.text(range.lowerBound), PlainNumber.text(range.upperBound))
                return .failure(.init(reason: "is not between \(lower) and \(upper)"))
            }
            return .success(number)
        }
    }
}

private enum PlainNumber {
    /// Whole numbers without a fraction, as people write them.
    static func text(_ number: Double) -> String { Int(exactly: number).map(String.init) ?? String(number) }
}

extension Setting where Value == Duration {
    /// A whole number with its unit: `250ms`, `30s`, `5m`, `24h`.
    static func duration(_ name: String, default text: String, help: String) -> Setting {
        Setting(name, default: text, help: help) { text in
            if let duration = Duration(written: text) { return .success(duration) }
            return .failure(.init(reason: "is not a duration such as 250ms, 30s or 5m"))
        }
    }
}

extension Duration {
    /// A whole number with its unit, as people write it: `250ms`, `30s`, `5m`, `1h`.
    public init?(written text: String) {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
        for (unit, milliseconds) in units where text.hasSuffix(unit) {
            guard let count = Int64(text.dropLast(unit.count)), (0...1_000_000_000).contains(count) else { continue }
            self = .milliseconds(count * milliseconds)
            return
        }
        return nil
    }
}

extension Setting where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    static func choice(_ name: String, default value: Value, help: String) -> Setting {
        let names = Value.allCases.map(\.rawValue)
        return Setting(name, default: value.rawValue, help: "\(help) (\(names.joined(separator: ", ")))") { text in
            Value(rawValue: text).map(Result.success)
                ?? .failure(.init(reason: "is none of \(names.joined(separator: ", "))"))
        }
    }
}
