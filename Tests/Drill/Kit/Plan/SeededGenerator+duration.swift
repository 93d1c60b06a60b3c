import SeededRandom

extension SeededGenerator {
    /// - Parameter range: seconds.
    mutating func duration(_ range: ClosedRange<Double>) -> Duration {
        .milliseconds(Int64(Double.random(in: range, using: &self) * 1000))
    }
}
