import ChatCore
import Synchronization

/// A mean in which every sample counts a tenth and what came before fades.
struct RecentMean: Sendable {
    private(set) var value: Double?

    mutating func add(_ sample: Double) {
        guard sample.isFinite, sample >= 0 else { return }
        value = value.map { $0 + (sample - $0) / 10 } ?? sample
    }
}

/// How long turns keep their places. Pure.
struct ServiceRates {
    private var means = ByKind(repeating: RecentMean())

    mutating func add(_ held: Duration, kind: Turn.Kind) { means[kind].add(held / .seconds(1)) }

    /// Seconds for each kind. Before a turn of a kind has ended, what those in progress have taken so far says it: on
    /// average they are half done.
    func seconds(running: [(kind: Turn.Kind, held: Duration)]) -> ByKind<Double?> {
        var seconds = ByKind<Double?>(repeating: nil)
        for kind in Turn.Kind.byUrgency {
            let held = running.filter { $0.kind == kind }.map { $0.held / .seconds(1) }
            let progress = held.isEmpty ? nil : 2 * held.reduce(0, +) / Double(held.count)
            seconds[kind] = means[kind].value ?? progress
        }
        return seconds
    }
}

/// The time from a node's hearing of a turn to its first token, as the nodes measure it.
final class FirstTokenMeter: Sendable {
    private let mean = Mutex(RecentMean())

    var seconds: Double? { mean.withLock { $0.value } }

    func add(seconds: Double) { mean.withLock { $0.add(seconds) } }
}
