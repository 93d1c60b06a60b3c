import ServiceKit

/// What a query asks for: metrics and labels by name. Not a parser (that is promtool's part): our names are told by how they
/// begin, and labels by where they stand.
struct QueriedMetrics {
    /// As in a scrape: a histogram's with `_bucket`, `_sum` or `_count`.
    let names: Set<String>
    let labels: Set<String>

    init(_ query: String) {
        let bare = query.replacing(/"[^"]*"/, with: "\"\"")
        names = Set(bare.matches(of: /\b(switchboard[_:]|vllm:|process_)[a-z0-9_:]+\b/).map { String($0.0) })
        let matchers = bare.matches(of: /([a-z_]+)\s*(=~|!=|!~|=)\s*"/).map { String($0.1) }
        let groups = bare.matches(of: /\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/).flatMap { match in
            match.1.split { $0 == "," || $0 == " " }.map(String.init)
        }
        labels = Set(matchers + groups)
    }

    /// The measure that a scrape's name belongs to.
    static func measure(_ name: String) -> (any AnyMeasure)? {
        if let measure = measures[name] { return measure }
        for suffix in ["_bucket", "_sum", "_count"] where name.hasSuffix(suffix) {
            if let measure = measures[String(name.dropLast(suffix.count))], measure.type == "histogram" {
                return measure
            }
        }
        return nil
    }

    private static let measures: [String: any AnyMeasure] = Dictionary(
        Measures.catalogue.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
}
