import Metrics

/// One metric of ours: its name as Prometheus reads it, what it means, its labels, and how its values become a series.
///
/// Every metric stands in `Measures`: help texts and bucket bounds come from there. A handle is looked up by its labels
/// once and then kept: making one takes a lock and a hash, recording in one an atomic addition.
public struct Measure<Handle>: Sendable {
    /// With its unit and, of a counter, `_total`.
    public let name: String
    public let help: String
    /// The names of its labels. Their values are names from the code or the configuration, or bounded in number.
    public let labels: [String]
    /// A histogram's upper bounds, rising; empty for others.
    let bounds: [Double]
    let kind: MeasureKind

    fileprivate init(
        _ kind: MeasureKind, _ name: String, _ help: String, _ labels: [String], bounds: [Double] = []
    ) {
        (self.kind, self.name, self.help, self.labels, self.bounds) = (kind, name, help, labels, bounds)
    }

    fileprivate func dimensions(_ values: [String]) -> [(String, String)] {
        assert(values.count == labels.count, "\(name) has the labels \(labels)")
        return Array(zip(labels, values))
    }

    func series(_ values: [String]) -> MetricRegistry.Series { .init(kind, name, dimensions(values)) }
}

enum MeasureKind: String, Sendable { case counter, gauge, histogram }

/// A measure without its type, as the registry knows it.
public protocol AnyMeasure: Sendable {
    var name: String { get }
    var help: String { get }
    var labels: [String] { get }
    /// `counter`, `gauge` or `histogram`.
    var type: String { get }
}

extension Measure: AnyMeasure {
    public var type: String { kind.rawValue }
}

extension Measure where Handle == Counter {
    static func counter(_ name: String, _ help: String, labels: [String] = []) -> Measure {
        Measure(.counter, name, help, labels)
    }

    /// The counter of these labels' values.
    public func callAsFunction(_ values: String..., factory: any MetricsFactory = MetricsSystem.factory) -> Counter {
        Counter(label: name, dimensions: dimensions(values), factory: factory)
    }
}

extension Measure where Handle == Gauge {
    static func gauge(_ name: String, _ help: String, labels: [String] = []) -> Measure {
        Measure(.gauge, name, help, labels)
    }

    public func callAsFunction(_ values: String..., factory: any MetricsFactory = MetricsSystem.factory) -> Gauge {
        Gauge(label: name, dimensions: dimensions(values), factory: factory)
    }
}

extension Measure where Handle == Timer {
    /// A histogram of seconds.
    static func seconds(
        _ name: String, _ help: String, labels: [String] = [], bounds: [Double] = MeasureBounds.seconds
    ) -> Measure {
        Measure(.histogram, name, help, labels, bounds: bounds)
    }

    public func callAsFunction(_ values: String..., factory: any MetricsFactory = MetricsSystem.factory) -> Timer {
        Timer(label: name, dimensions: dimensions(values), factory: factory)
    }
}

extension Measure where Handle == Recorder {
    /// A histogram of something else than time.
    static func distribution(_ name: String, _ help: String, labels: [String] = [], bounds: [Double]) -> Measure {
        Measure(.histogram, name, help, labels, bounds: bounds)
    }

    public func callAsFunction(_ values: String..., factory: any MetricsFactory = MetricsSystem.factory) -> Recorder {
        Recorder(label: name, dimensions: dimensions(values), aggregate: true, factory: factory)
    }
}
