import Foundation

/// One alert of deploy/prometheus/rules, as lines of text: the files keep one layout, so that no reader of YAML is needed.
struct AlertRule {
    let name: String
    /// Without the blanks before them.
    let lines: [String]

    var expression: String {
        lines.first { $0.hasPrefix("expr: ") }.map { String($0.dropFirst("expr: ".count)) } ?? ""
    }

    static func all() throws -> [AlertRule] {
        try PrometheusFiles.files(in: "rules").flatMap { try rules("alert", in: $0) }
    }

    static func recordings() throws -> [AlertRule] {
        try PrometheusFiles.files(in: "rules").flatMap { try rules("record", in: $0) }
    }

    private static func rules(_ kind: String, in file: URL) throws -> [AlertRule] {
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.hasPrefix("#") }
        return lines.split { $0.hasPrefix("groups:") || $0.hasPrefix("rules:") || $0.hasPrefix("- name:") }
            .flatMap { group in
                group.indices.filter { group[$0].hasPrefix("- \(kind): ") }.map { start in
                    let end = group[(start + 1)...].firstIndex { $0.hasPrefix("- ") } ?? group.endIndex
                    return AlertRule(
                        name: String(group[start].dropFirst("- \(kind): ".count)),
                        lines: Array(group[(start + 1)..<end]))
                }
            }
    }

    /// A way to write a rule a little wrong.
    enum Slip: CaseIterable {
        case higher, lower, longer, shorter
    }

    /// The rules with that slip in every alert, and the alerts that have something to slip in.
    static func slipping(_ slip: Slip, in text: String) -> (text: String, alerts: Set<String>) {
        var alert: String?
        var alerts: Set<String> = []
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
            let line = String(line)
            if let match = line.firstMatch(of: /- (alert|record): (\S+)/) {
                alert = match.1 == "alert" ? String(match.2) : nil
            }
            guard let alert else { return line }
            let slipped = slip.applied(to: line)
            if slipped != line { alerts.insert(alert) }
            return slipped
        }
        return (lines.joined(separator: "\n"), alerts)
    }
}

extension AlertRule.Slip {
    fileprivate func applied(to line: String) -> String {
        switch self {
        case .higher, .lower:
            guard line.contains(/^ *expr:/) else { return line }
            return line.replacing(/(>|==) ([0-9.]+)/) { match in
                "\(match.1) \(moved(Double(match.2) ?? 0))"
            }
        case .longer, .shorter:
            return line.replacing(/^( *for:) ([0-9]+)m$/) { match in
                "\(match.1) \(max(0, (Int(match.2) ?? 0) + (self == .longer ? 1 : -1)))m"
            }
        }
    }

    /// A tenth off; small whole numbers count something, and are one off.
    private func moved(_ threshold: Double) -> String {
        let counts = threshold == threshold.rounded() && threshold < 30
        let distance = counts ? 1 : threshold / 10
        return String(self == .higher ? threshold + distance : threshold - distance)
    }
}
