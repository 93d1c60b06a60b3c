import SeededRandom
import Testing

@testable import LlamaEngine

@Suite struct DraftAllocationTests {
    private typealias Candidate = DraftAllocation.Candidate

    private static func expectedTokens(_ candidates: [Candidate], _ lengths: [Int], plainRows: Int) -> Double {
        zip(candidates, lengths).reduce(Double(plainRows)) { sum, pair in
            var value = 1.0, added = 0.0
            for _ in 0..<pair.1 {
                value *= pair.0.acceptance
                added += value
            }
            return sum + added
        }
    }

    /// Tokens per second of the best of all choices, found by trying them.
    private static func bestRate(_ candidates: [Candidate], plainRows: Int, _ cost: (Int) -> Double) -> Double {
        var best = 0.0
        func walk(_ lengths: [Int]) {
            if lengths.count == candidates.count {
                let rows = plainRows + lengths.reduce(0, +)
                best = max(best, expectedTokens(candidates, lengths, plainRows: plainRows) / cost(rows))
                return
            }
            for length in 0...candidates[lengths.count].longest { walk(lengths + [length]) }
        }
        walk([])
        return best
    }

    @Test func choosesAsWellAsTryingEverything() {
        var random = SeededGenerator(seed: 9)
        for _ in 0..<300 {
            let candidates = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                Candidate(
                    acceptance: Double.random(in: 0.05...0.98, using: &random),
                    longest: Int.random(in: 0...5, using: &random))
            }
            let plain = candidates.count + Int.random(in: 0...3, using: &random)
            let fixed = Double.random(in: 0...20, using: &random), jump = Int.random(in: 2...9, using: &random)
            // Costs with steps in them, as tiles of rows give.
            let cost = { (rows: Int) in fixed + Double((rows + jump - 1) / jump * jump) }
            let lengths = DraftAllocation.lengths(of: candidates, plainRows: plain, maximumRows: 99) { rows, _ in
                cost(rows)
            }
            let rate =
                Self.expectedTokens(candidates, lengths, plainRows: plain) / cost(plain + lengths.reduce(0, +))
            // The gain that is asked for, and guesses too unlikely to be looked at.
            #expect(rate >= Self.bestRate(candidates, plainRows: plain, cost) / DraftAllocation.minimumGain * 0.995)
            for (length, candidate) in zip(lengths, candidates) { #expect((0...candidate.longest).contains(length)) }
        }
    }

    @Test func nearlyFreeRowsAreTakenAndExpensiveOnesAreNot() {
        let sure = [Candidate(acceptance: 0.9, longest: 10)]
        #expect(DraftAllocation.lengths(of: sure, plainRows: 1, maximumRows: 64) { _, _ in 1 } == [10])
        #expect(DraftAllocation.lengths(of: sure, plainRows: 1, maximumRows: 4) { _, _ in 1 } == [4])
        #expect(DraftAllocation.lengths(of: sure, plainRows: 1, maximumRows: 64) { rows, _ in Double(rows) } == [0])
        #expect(DraftAllocation.lengths(of: sure, plainRows: 1, maximumRows: 64) { _, _ in nil } == [0])
        // A drafter that takes as long as the model never pays, however often it is right.
        let certain = [Candidate(acceptance: 1, longest: 8)]
        #expect(
            DraftAllocation.lengths(of: certain, plainRows: 1, maximumRows: 64) { _, depth in 1 + Double(depth) } == [0]
        )
    }

    @Test func manyRowsGoToTheSequencesThatAreSure() {
        let candidates = [0.95, 0.1, 0.9, 0.2].map { Candidate(acceptance: $0, longest: 6) }
        let lengths = DraftAllocation.lengths(of: candidates, plainRows: 4, maximumRows: 64) { rows, _ in
            8 + Double(rows)
        }
        #expect(lengths[0] >= lengths[2] && lengths[2] > 2)
        #expect(lengths[1] == 0 && lengths[3] == 0)
        #expect(DraftAllocation.lengthsBesidePrompts(of: candidates, maximumRows: 64) == [4, 0, 2, 0])
        #expect(DraftAllocation.lengthsBesidePrompts(of: candidates, maximumRows: 3) == [2, 0, 1, 0])
    }

    @Test func oddInputsAreHarmless() {
        let odd = [
            Candidate(acceptance: .nan, longest: 3), Candidate(acceptance: 2, longest: -1),
            Candidate(acceptance: -1, longest: 3),
        ]
        #expect(DraftAllocation.lengths(of: odd, plainRows: 3, maximumRows: 9) { _, _ in 1 } == [0, 0, 0])
        #expect(DraftAllocation.lengths(of: [], plainRows: 0, maximumRows: 9) { _, _ in 1 } == [])
        let sure = [Candidate(acceptance: 0.9, longest: 3)]
        #expect(DraftAllocation.lengths(of: sure, plainRows: 1, maximumRows: -5) { _, _ in 1 } == [0])
    }
}
