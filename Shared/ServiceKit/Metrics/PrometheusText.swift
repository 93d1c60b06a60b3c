extension MetricRegistry {
    /// The media type of `prometheusText`.
    public static let prometheusContentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Every value in Prometheus' text format 0.0.4. Counters end in `_total`, timers in `_seconds`.
    public func prometheusText() -> String {
        let (values, dropped) = snapshot()
        var families: [String: (type: String, lines: [String])] = [:]
        for (series, value) in values {
            let name = PrometheusText.name(of: series)
            let (type, lines) = PrometheusText.lines(name, series, value)
            // Two kinds under one name would be refused as a whole by whoever reads them: the first stays.
            guard families[name, default: (type, [])].type == type else { continue }
            families[name, default: (type, [])].lines += lines
        }
        let told = "switchboard_metric_series_dropped"
        families[told] = ("gauge", ["\(told) \(dropped)"])
        return families.sorted { $0.key < $1.key }.map { name, family in
            "# TYPE \(name) \(family.type)\n" + family.lines.sorted().joined(separator: "\n") + "\n"
        }.joined()
    }
}

private enum PrometheusText {
    static func name(of series: MetricRegistry.Series) -> String {
        let name = identifier(series.label)
        switch series.kind {
        case .counter: return name.hasSuffix("_total") ? name : name + "_total"
        case .seconds: return name.hasSuffix("_seconds") ? name : name + "_seconds"
        case .gauge, .distribution: return name
        }
    }

    static func lines(
        _ name: String, _ series: MetricRegistry.Series, _ value: MetricCell.Value
    ) -> (type: String, lines: [String]) {
        let pairs = stride(from: 0, to: series.dimensions.count, by: 2).map { index in
            "\(identifier(series.dimensions[index]))=\"\(escaped(series.dimensions[index + 1]))\""
        }
        func braces(_ more: [String] = []) -> String {
            let all = pairs + more
            return all.isEmpty ? "" : "{\(all.joined(separator: ","))}"
        }
        switch value {
        case .number(let number):
            return (series.kind == .counter ? "counter" : "gauge", ["\(name)\(braces()) \(text(number))"])
        case .histogram(let bounds, let counts, let sum):
            var total: UInt64 = 0
            // One text for the whole histogram: its buckets stand in the order of their bounds.
            var block = ""
            for (bound, count) in zip(bounds.map(text) + ["+Inf"], counts) {
                total += count
                block += "\(name)_bucket\(braces(["le=\"\(bound)\""])) \(total)\n"
            }
            return ("histogram", [block + "\(name)_sum\(braces()) \(text(sum))\n\(name)_count\(braces()) \(total)"])
        }
    }

    /// Letters, digits and underscores; whatever else stands in a name becomes an underscore.
    static func identifier(_ text: String) -> String {
        var name = String(
            text.unicodeScalars.map { scalar in
                scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar))
                    ? Character(scalar) : "_"
            })
        if name.first.map({ $0.isNumber }) ?? true { name = "_" + name }
        return name
    }

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// Whole numbers without a fraction, as people read them.
    static func text(_ number: Double) -> String {
        number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : String(number)
    }
}
