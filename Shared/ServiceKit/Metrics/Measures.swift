import Metrics

/// Every metric there is, by who shows it. Names and units follow Prometheus' rules; a node's `vllm:` names are those
/// that dashboards for inference servers ask for.
public enum Measures {
    /// What is shown by whom, as docs and tests want it.
    public static let groups: [(title: String, measures: [any AnyMeasure])] = [
        ("everybody", everybody), ("gateway", gateway), ("orchestrator", orchestrator), ("queue worker", worker),
        ("inference node", node),
    ]

    public static let catalogue: [any AnyMeasure] = groups.flatMap(\.measures)

    static let help = Dictionary(catalogue.map { ($0.name, $0.help) }) { first, _ in first }

    static let bounds: [String: [Double]] = {
        let timers = catalogue.compactMap { $0 as? Measure<Timer> }.map { ($0.name, $0.bounds) }
        let recorders = catalogue.compactMap { $0 as? Measure<Recorder> }.map { ($0.name, $0.bounds) }
        return Dictionary(timers + recorders) { first, _ in first }
    }()
}
