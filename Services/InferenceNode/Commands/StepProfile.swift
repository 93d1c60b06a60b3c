import Foundation
import LlamaEngine

/// What each kind of operation took in some steps of equal shape.
struct StepProfile: CustomStringConvertible {
    private struct Line {
        var kind: LlamaForwardPass.OperationKind
        /// Microseconds of a step.
        var time: Double
        var work: LlamaForwardPass.OperationWork
        /// Rows that meet the operation's matrices.
        var rows: Int
    }

    private let lines: [Line]

    /// Measures `steps` steps that `body` makes, each of `rows` rows and `outputs` rows of logits.
    init(of pass: LlamaForwardPass, rows: Int, outputs: Int, steps: Int, _ body: () throws -> Void) rethrows {
        pass.measure(true)
        try body()
        let nanoseconds = pass.nanoseconds, work = pass.work
        pass.measure(false)
        lines = LlamaForwardPass.OperationKind.allCases.compactMap { kind in
            guard let time = nanoseconds[kind], time > 0, let work = work[kind] else { return nil }
            return Line(
                kind: kind, time: Double(time) / 1000 / Double(steps), work: work,
                rows: kind == .logits ? outputs : rows)
        }
    }

    var description: String {
        let total = lines.reduce(0) { $0 + $1.time }
        return lines.map { line in
            let name = line.kind.rawValue.padding(toLength: 10, withPad: " ", startingAt: 0)
            var text = name + String(format: "%9.1f µs %5.1f %%", line.time, 100 * line.time / total)
            if line.work.weightBytes > 0 {
                let bytes = Double(line.work.weightBytes), products = Double(line.work.multiplications * line.rows)
                text += String(
                    format: "  %6.1f GB/s %7.1f GOPS", bytes / line.time / 1000, 2 * products / line.time / 1000)
            }
            return text
        }.joined(separator: "\n")
    }
}
