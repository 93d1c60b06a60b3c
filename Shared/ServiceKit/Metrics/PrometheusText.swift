extension MetricRegistry {
    /// The media type of `prometheusText`.
    public static let prometheusContentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Every value in Prometheus' text format 0.0.4. Counters end in `_total`.
    public func prometheusText() -> String {
        let (values, dropped) = snapshot()
        var families: [String: (kind: MeasureKind, lines: [String])] = [:]
        for (series, value) in values {
            let name = PrometheusText.name(of: series)
            // Two kinds under one name would be refused as a whole by whoever reads them: the first stays.
            guard families[name, default: (series.kind, [])].kind == series.kind else { continue }
            families[name, default: (series.kind, [])].lines.append(PrometheusText.line(name, series, value))
        }
        let told = Measures.seriesDropped.name
        families[told] = (.gauge, ["\(told) \(dropped)"])
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            if let help = Measures.help[name] { text += "# HELP \(name) \(PrometheusText.escapedHelp(help))\n" }
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            for line in family.lines.sorted() { text += line + "\n" }
        }
        return text
    }
}

private enum PrometheusText {
    static func name(of series: MetricRegistry.Series) -> String {
        let name = identifier(series.label, alsoAllowed: ":")
        return series.kind == .counter && !name.hasSuffix("_total") ? name + "_total" : name
    }

    /// One line, or all of a histogram.
    static func line(_ name: String, _ series: MetricRegistry.Series, _ value: MetricRegistry.Value) -> String {
        let pairs = stride(from: 0, to: series.dimensions.count, by: 2).map { index in
            "\(identifier(series.dimensions[index]))=\"\(escaped(series.dimensions[index + 1]))\""
        }.joined(separator: ",")
        let labels = pairs.isEmpty ? "" : "{\(pairs)}"
        switch value {
        case .number(let number): return "\(name)\(labels) \(text(number))"
        case .histogram(let bounds, let counts, let sum):
            var total: UInt64 = 0
            var block = ""
            for (bound, count) in zip(bounds.map(text) + ["+Inf"], counts) {
                total += count
                block += "\(name)_bucket{\(pairs)\(pairs.isEmpty ? "" : ",")le=\"\(bound)\"} \(total)\n"
            }
            return block + "\(name)_sum\(labels) \(text(sum))\n\(name)_count\(labels) \(total)"
        }
    }

    /// Letters, digits and underscores; whatever else stands in a name becomes an underscore.
    static func identifier(_ text: String, alsoAllowed: Unicode.Scalar? = nil) -> String {
        var name = String(
            text.unicodeScalars.map { scalar in
                scalar == alsoAllowed
                    || scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar))
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

    static func escapedHelp(_ text: String) -> String {
        text.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
            .split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\\n")
    }

    /// Whole numbers without a fraction, as people read them.
    static func text(_ number: Double) -> String {
        if number == number.rounded(), abs(number) < 1e15 { return String(Int64(number)) }
        return number.isNaN ? "NaN" : number.isInfinite ? (number < 0 ? "-Inf" : "+Inf") : String(number)
    }
}
