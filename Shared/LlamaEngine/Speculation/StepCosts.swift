/// What a step costs by the number of its rows, as measured while the engine runs.
///
/// Row counts fall into classes: each by itself up to 16, then four to an octave. A count that was never measured is taken at
/// the best that it can be (between its measured neighbours; as cheap as the next smaller one; in proportion to the next larger one).
/// So it is tried once where that would pay, and known from then on. Contexts grow and machines get busy, so a measurement
/// is forgotten when it has not been confirmed for a while.
struct StepCosts {
    private struct Measurement {
        var seconds = 0.0
        /// Number of the step that measured it last.
        var step = 0
    }

    private var classes: [Measurement?] = []
    private var steps = 0

    /// Weight of the newest measurement.
    private static let gain = 0.15
    /// Steps after which an unconfirmed measurement is forgotten.
    static let memory = 1024

    /// Takes in a step's time. Steps that computed prompts are another matter: their rows have no logits.
    mutating func record(rows: Int, seconds: Double) {
        guard rows > 0, seconds.isFinite, seconds > 0 else { return }
        steps += 1
        let index = Self.index(rows)
        while classes.count <= index { classes.append(nil) }
        guard var known = current(index) else {
            classes[index] = Measurement(seconds: seconds, step: steps)
            return
        }
        // A step that another process interrupted says little about its rows.
        known.seconds += Self.gain * (min(seconds, 2 * known.seconds) - known.seconds)
        known.step = steps
        classes[index] = known
    }

    /// Seconds of a step of so many rows; nil before anything was measured.
    func seconds(rows: Int) -> Double? {
        let index = Self.index(max(rows, 1))
        if let known = current(index) { return known.seconds }
        let below = (0..<min(index, classes.count)).last { current($0) != nil }
        let above = index + 1 < classes.count ? (index + 1..<classes.count).first { current($0) != nil } : nil
        switch (below.flatMap(point), above.flatMap(point)) {
        case (let low?, let high?):
            let share = (Double(rows) - low.rows) / (high.rows - low.rows)
            return low.seconds + (high.seconds - low.seconds) * min(max(share, 0), 1)
        case (let low?, nil): return low.seconds
        case (nil, let high?): return high.seconds * Double(rows) / high.rows
        case (nil, nil): return nil
        }
    }

    private func current(_ index: Int) -> Measurement? {
        guard index < classes.count, let known = classes[index], steps - known.step <= Self.memory else { return nil }
        return known
    }

    private func point(_ index: Int) -> (rows: Double, seconds: Double)? {
        current(index).map { (Double(Self.lowestRows(index)), $0.seconds) }
    }

    /// The class of a row count.
    static func index(_ rows: Int) -> Int {
        guard rows > 16 else { return rows - 1 }
        let octave = Int.bitWidth - 1 - (rows - 1).leadingZeroBitCount
        return 16 + (octave - 4) * 4 + ((rows - 1) >> (octave - 2)) - 4
    }

    /// The smallest row count of a class.
    static func lowestRows(_ index: Int) -> Int {
        guard index >= 16 else { return index + 1 }
        let octave = 4 + (index - 16) / 4
        return (((index - 16) % 4 + 4) << (octave - 2)) + 1
    }
}
