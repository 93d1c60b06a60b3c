import CKernels
import SeededRandom
import Synchronization
import Testing

@testable import LlamaEngine

/// Rows that are drawn by a team of threads give the tokens that they give alone.
@Suite struct BatchSamplerTests {
    /// Rows of all settings, so that neighbours on a thread leave different things in its scratch memory; some are not finite.
    private static func draws(_ count: Int) -> [TokenDraw] {
        (0..<count).map { row in
            var parameters = SamplerTests.settings[row * 7 % SamplerTests.settings.count]
            parameters.seed = UInt64(row / 3)
            return TokenDraw(output: row, parameters: parameters, outputIndex: row * 5)
        }
    }

    @Test(arguments: [1, 2, 3, 4, 9]) func drawsWhatASamplerDrawsRowByRow(threads: Int) throws {
        let (vocabulary, rows) = (1500, 70)
        var random = SeededGenerator(seed: 3)
        let memory = UnsafeMutablePointer<Float>.allocate(capacity: vocabulary * rows)
        defer { memory.deallocate() }
        for index in 0..<vocabulary * rows { memory[index] = Float.random(in: -6...6, using: &random) }
        memory[5 * vocabulary + 700] = .nan
        memory[40 * vocabulary + 1499] = .infinity
        func row(_ output: Int) -> UnsafeMutableBufferPointer<Float> {
            UnsafeMutableBufferPointer(start: memory + output * vocabulary, count: vocabulary)
        }
        let one = Sampler(vocabulary: vocabulary)
        let expected = Self.draws(rows).map { draw in
            one.sample(row(draw.output), parameters: draw.parameters, penalties: nil, outputIndex: draw.outputIndex)
        }
        #expect(expected[5] == nil && expected[40] == nil)
        #expect(Set(expected).count > 40)

        let team = try #require(ck_team_create(Int32(threads)))
        defer { ck_team_destroy(team) }
        // Fewer rows at a time than the batch has.
        let batch = BatchSampler(vocabulary: vocabulary, threads: threads, maxRows: 64)
        for count in [rows, 0, 1, 2, 3, 5, rows] {
            for _ in 0..<20 {
                var draws = Self.draws(count)
                batch.sample(&draws, team: team, threads: threads) { UnsafePointer(memory + $0 * vocabulary) }
                #expect(draws.map(\.token) == Array(expected.prefix(count)))
            }
        }
    }

    /// A team's steps follow each other at once, of one kind and the other, with any number of its threads.
    @Test func everyItemIsTakenOnce() throws {
        final class Item: Sendable {
            let taken = Atomic<Int>(0)
        }
        final class Counts: Sendable {
            let items = (0..<50).map { _ in Item() }
        }
        let team = try #require(ck_team_create(5))
        defer { ck_team_destroy(team) }
        let counts = Counts()
        var expected = Array(repeating: 0, count: 50)
        for round in 0..<2000 {
            let count = round * 11 % 51
            for item in 0..<count { expected[item] += 1 }
            ck_team_each(
                team, Int32(round % 7), Int32(count),
                { context, thread, item in
                    guard let context, (0..<5).contains(thread) else { return }
                    Unmanaged<Counts>.fromOpaque(context).takeUnretainedValue().items[Int(item)].taken.add(
                        1, ordering: .relaxed)
                }, Unmanaged.passUnretained(counts).toOpaque())
        }
        #expect(counts.items.map { $0.taken.load(ordering: .relaxed) } == expected)
    }

    /// The model's own pass, between steps of its plan.
    @Test func aForwardPassDrawsBetweenItsSteps() throws {
        let pass = try TinyModel(types: [.q4_1], seed: 12).pass(threads: 3)
        pass.activeThreads = 3
        let sequence = RowSequence(count: 40, vocabulary: pass.vocabulary, firstBlock: 0, seed: 7)
        let one = Sampler(vocabulary: pass.vocabulary)
        for start in [0, 20] {
            try pass.run(rows([(sequence, start..<start + 20)]))
            var draws = Self.draws(20)
            pass.sample(&draws)
            let expected = draws.map { draw in
                one.sample(
                    pass.logits(draw.output), parameters: draw.parameters, penalties: nil, outputIndex: draw.outputIndex
                )
            }
            #expect(draws.map(\.token) == expected)
            #expect(!expected.contains(nil))
        }
    }
}
