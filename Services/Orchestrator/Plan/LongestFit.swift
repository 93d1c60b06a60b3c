/// Searches the largest number that fits, from a guess outwards: two attempts when the guess is right, and never more
/// than about twice the logarithm of the distance.
///
/// 0 fits. What is larger than something that does not fit is taken not to fit either.
struct LongestFit {
    /// The largest number that is known to fit.
    private(set) var longest = 0
    /// The smallest that is known not to.
    private var tooLong: Int
    private let guess: Int
    private var step = 1
    private var hasTried = false

    init(limit: Int, guess: Int) {
        tooLong = limit + 1
        self.guess = min(max(guess, 1), limit)
    }

    /// The number to try next; nil when the answer is known.
    var candidate: Int? {
        guard tooLong - longest > 1 else { return nil }
        if !hasTried { return guess }
        // Outwards while one side is still open, then halves.
        if longest >= guess, step > 0 { return min(longest + step, tooLong - 1) }
        if tooLong <= guess, step > 0 { return max(tooLong - step, longest + 1) }
        return longest + (tooLong - longest) / 2
    }

    /// Whether `candidate` fits.
    mutating func record(fits: Bool) {
        guard let candidate else { return }
        let wasOutwards = hasTried && step > 0
        let upwards = longest >= guess
        if fits { longest = candidate } else { tooLong = candidate }
        if wasOutwards {
            // The step that changed sides ends the walk.
            step = upwards == fits ? step * 2 : 0
        }
        hasTried = true
    }
}
