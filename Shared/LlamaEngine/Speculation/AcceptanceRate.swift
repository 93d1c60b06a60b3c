/// How often a guessed token is the one that comes, over the recent guesses of one kind.
///
/// A geometric model: given that the guesses before it were right, each guess is right with the same probability. So what is
/// counted are guesses that were put to the test, the right ones and the first wrong one of a run; those after it tell nothing.
struct AcceptanceRate {
    private var right: Double
    private var tested: Double
    /// Weight that remains of older guesses with each new one: a memory of 1 / (1 - retention) guesses.
    private let retention: Double

    /// - Parameters:
    ///   - expectation: the rate before anything is known.
    ///   - weight: how many guesses that expectation counts for.
    ///   - memory: guesses that are remembered, at least 1.
    init(expectation: Double, weight: Double, memory: Double) {
        right = expectation * weight
        tested = weight
        retention = 1 - 1 / max(memory, 1)
    }

    /// 0...1.
    var rate: Double { tested > 0 ? min(max(right / tested, 0), 1) : 0 }

    mutating func record(isRight: Bool) {
        right = right * retention + (isRight ? 1 : 0)
        tested = tested * retention + 1
    }
}
