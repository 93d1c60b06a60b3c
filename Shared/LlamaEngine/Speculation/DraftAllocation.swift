/// Shares the rows of a step's drafts between its sequences so that tokens come fastest.
///
/// With n plain rows and chosen drafts, a step gives n + the sum over the drafts of acceptance ^ depth tokens, in the measured time of
/// its rows. Drafts are taken in the order of what each adds; the best of all these steps is chosen, the one without drafts among
/// them. (Expected length of an accepted run: Leviathan et al. 2023; choosing by measured cost: Chen et al. 2024, "Sequoia".)
struct DraftAllocation {
    /// What a sequence could bring.
    struct Candidate {
        /// Probability that a guess is right when those before it are.
        var acceptance: Double
        /// The longest draft that it has.
        var longest: Int
    }

    /// Drafts must promise so much more than none: estimates are not exact, and none is what everybody expects.
    static let minimumGain = 1.02
    /// Beside prompts, whose rows fill the step's time anyway, a draft row takes the place of a prompt's row: it must be nearly as sure.
    static let minimumValueBesidePrompts = 0.8
    /// No row is so nearly free that so unlikely a guess would pay.
    static let minimumValue = 0.04

    /// The length of each candidate's draft, 0 for none.
    ///
    /// - Parameters:
    ///   - plainRows: rows of the step without drafts.
    ///   - maximumRows: draft rows at most.
    ///   - seconds: the time of a step with so many rows and drafts up to a depth; nil when nothing is known, and nothing is drafted.
    static func lengths(
        of candidates: [Candidate], plainRows: Int, maximumRows: Int, seconds: (_ rows: Int, _ depth: Int) -> Double?
    ) -> [Int] {
        var lengths = [Int](repeating: 0, count: candidates.count)
        guard plainRows > 0, let plain = seconds(plainRows, 0), plain > 0 else { return lengths }
        let rows = ranked(candidates, limit: maximumRows)
        var tokens = Double(plainRows)
        var depth = 0
        var best = (rate: tokens / plain * minimumGain, count: 0)
        for (count, row) in rows.enumerated() {
            tokens += row.value
            depth = max(depth, row.depth)
            guard let time = seconds(plainRows + count + 1, depth), time > 0 else { break }
            if tokens / time > best.rate { best = (tokens / time, count + 1) }
        }
        for row in rows.prefix(best.count) { lengths[row.candidate] = row.depth }
        return lengths
    }

    /// The lengths in a step that also computes prompts.
    static func lengthsBesidePrompts(of candidates: [Candidate], maximumRows: Int) -> [Int] {
        var lengths = [Int](repeating: 0, count: candidates.count)
        for row in ranked(candidates, limit: maximumRows) where row.value >= minimumValueBesidePrompts {
            lengths[row.candidate] = row.depth
        }
        return lengths
    }

    /// Every row that could be drafted by what it adds, most first; of one sequence in the order of their depth.
    private static func ranked(
        _ candidates: [Candidate], limit: Int
    ) -> [(value: Double, candidate: Int, depth: Int)] {
        var rows: [(value: Double, candidate: Int, depth: Int)] = []
        for (index, candidate) in candidates.enumerated() where candidate.longest > 0 && candidate.acceptance > 0 {
            var value = 1.0
            for depth in 1...candidate.longest {
                value *= min(candidate.acceptance, 1)
                guard value >= minimumValue else { break }
                rows.append((value, index, depth))
            }
        }
        rows.sort { ($1.value, $0.depth, $0.candidate) < ($0.value, $1.depth, $1.candidate) }
        return Array(rows.prefix(max(0, limit)))
    }
}
