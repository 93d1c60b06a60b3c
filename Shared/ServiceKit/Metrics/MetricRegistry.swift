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

    enum Kind: Hashable { case counter, gauge, seconds, distribution }

    struct Series: Hashable {
        let kind: Kind
        let label: String
        /// In the order of their names.
        let dimensions: [String]

        init(_ kind: Kind, _ label: String, _ dimensions: [(String, String)]) {
            self.kind = kind
            self.label = label
            self.dimensions = dimensions.sorted { $0.0 < $1.0 }.flatMap { [$0.0, $0.1] }
        }
    }

    private struct State {
        var cells: [Series: MetricCell] = [:]
        var dropped = 0
    }

    private let state = Mutex(State())

    public init() {}

    private func cell(_ series: Series) -> MetricCell {
        state.withLock { state in
            if let cell = state.cells[series] { return cell }
            let cell = MetricCell(series.kind)
            if state.cells.count < MetricRegistry.maximumSeries {
                state.cells[series] = cell
            } else {
                state.dropped += 1
            }
            return cell
        }
    }

    /// All values, and how many series found no room.
    func snapshot() -> (values: [(series: Series, value: MetricCell.Value)], dropped: Int) {
        let (cells, dropped) = state.withLock { ($0.cells, $0.dropped) }
        return (cells.map { ($0.key, $0.value.value) }, dropped)
    }

    // MARK: MetricsFactory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        cell(Series(.counter, label, dimensions))
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        cell(Series(aggregate ? .distribution : .gauge, label, dimensions))
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        cell(Series(.seconds, label, dimensions))
    }

    // A series outlives the object that recorded in it: a counter that began anew would look like a restart.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}
}

/// The value of one series.
final class MetricCell: CounterHandler, RecorderHandler, TimerHandler {
    enum Value: Equatable {
        case number(Double)
        /// `counts[i]`: those at most `bounds[i]` and above the bound before it; one more for those above all bounds.
        case histogram(bounds: [Double], counts: [UInt64], sum: Double)
    }

    /// Upper bounds of the buckets, in seconds: from a round trip to Redis to a long answer.
    static let secondBounds: [Double] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
    static let bounds: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000]

    private let state: Mutex<Value>

    init(_ kind: MetricRegistry.Kind) {
        func empty(_ bounds: [Double]) -> Value {
            .histogram(bounds: bounds, counts: Array(repeating: 0, count: bounds.count + 1), sum: 0)
        }
        switch kind {
        case .counter, .gauge: state = Mutex(.number(0))
        case .seconds: state = Mutex(empty(MetricCell.secondBounds))
        case .distribution: state = Mutex(empty(MetricCell.bounds))
        }
    }

    var value: Value { state.withLock { $0 } }

    func increment(by amount: Int64) {
        state.withLock { value in if case .number(let before) = value { value = .number(before + Double(amount)) } }
    }

    func reset() {
        state.withLock { value in if case .number = value { value = .number(0) } }
    }

    func record(_ value: Int64) { record(Double(value)) }

    func record(_ new: Double) {
        guard new.isFinite else { return }
        state.withLock { value in
            switch value {
            case .number: value = .number(new)
            case .histogram(let bounds, var counts, let sum):
                value = .number(0)  // so that the counts are changed in their place, not in a copy
                counts[bounds.firstIndex { new <= $0 } ?? bounds.count] += 1
                value = .histogram(bounds: bounds, counts: counts, sum: sum + new)
            }
        }
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
}
