import Metrics
import Synchronization

/// The metrics of this process, kept in memory until somebody asks for them (`prometheusText`).
///
/// The back end of swift-metrics: a metric is made anywhere by its label and dimensions, and one made twice is the same.
/// Nothing is ever taken out, so labels and dimensions are names from the code or the configuration, never a client's.
public final class MetricRegistry: MetricsFactory {
    /// The one that `ServiceMain` gives to swift-metrics.
    public static let process = MetricRegistry()

    /// Series (label and dimensions) at most; what is recorded in more of them is dropped, and their number is told.
    public static let maximumSeries = 4096

    struct Series: Hashable {
        let kind: MeasureKind
        let label: String
        /// In the order of their names.
        let dimensions: [String]

        init(_ kind: MeasureKind, _ label: String, _ dimensions: [(String, String)]) {
            self.kind = kind
            self.label = label
            self.dimensions = dimensions.sorted { $0.0 < $1.0 }.flatMap { [$0.0, $0.1] }
        }
    }

    enum Value: Equatable {
        case number(Double)
        /// `counts[i]`: those at most `bounds[i]` and above the bound before it; one more for those above all bounds.
        case histogram(bounds: [Double], counts: [UInt64], sum: Double)
    }

    private enum Source {
        case cell(any MetricCell)
        case question(@Sendable () -> Double)
    }

    private struct State {
        var sources: [Series: Source] = [:]
        var dropped = 0

        /// Whether the series is there or may come; counts it when not.
        mutating func hasRoom(for series: Series) -> Bool {
            if sources[series] != nil || sources.count < MetricRegistry.maximumSeries { return true }
            dropped += 1
            return false
        }
    }

    private let state = Mutex(State())

    public init() {}

    /// The series' cell; one of its own, which nobody reads, when there is no more room.
    private func cell<Cell: MetricCell>(_ series: Series, _ make: () -> Cell) -> Cell {
        state.withLock { state in
            if case .cell(let known as Cell)? = state.sources[series] { return known }
            let cell = make()
            if state.hasRoom(for: series) { state.sources[series] = .cell(cell) }
            return cell
        }
    }

    /// Has a gauge's value asked for whenever the metrics are read; the last question about a series stays.
    public func observe(_ measure: Measure<Gauge>, _ labels: String..., value: @escaping @Sendable () -> Double) {
        observe(measure.series(labels), value)
    }

    /// The same of a counter that somebody else keeps.
    public func observe(_ measure: Measure<Counter>, _ labels: String..., value: @escaping @Sendable () -> Double) {
        observe(measure.series(labels), value)
    }

    private func observe(_ series: Series, _ value: @escaping @Sendable () -> Double) {
        state.withLock { state in
            if state.hasRoom(for: series) { state.sources[series] = .question(value) }
        }
    }

    /// All values, and how many series found no room.
    func snapshot() -> (values: [(series: Series, value: Value)], dropped: Int) {
        let (sources, dropped) = state.withLock { ($0.sources, $0.dropped) }
        let values = sources.map { series, source in
            switch source {
            case .cell(let cell): (series, cell.value)
            // Outside the lock: whoever answers may take one of its own.
            case .question(let ask): (series, Value.number(ask()))
            }
        }
        return (values, dropped)
    }

    // MARK: MetricsFactory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        cell(Series(.counter, label, dimensions)) { CounterCell() }
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        if aggregate {
            histogram(label, dimensions, otherwise: MeasureBounds.stepTokens)
        } else {
            cell(Series(.gauge, label, dimensions)) { GaugeCell() }
        }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        histogram(label, dimensions, otherwise: MeasureBounds.seconds)
    }

    private func histogram(_ label: String, _ dimensions: [(String, String)], otherwise bounds: [Double])
        -> HistogramCell
    {
        cell(Series(.histogram, label, dimensions)) { HistogramCell(bounds: Measures.bounds[label] ?? bounds) }
    }

    // A series outlives the object that recorded in it: a counter that began anew would look like a restart.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}
}
