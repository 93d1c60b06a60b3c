import SeededRandom
import Testing

@testable import LlamaEngine

/// What is drafted when, on a made-up clock: sequences with known texts, steps with known costs.
@Suite struct SpeculationTests {
    /// Runs texts to their ends and adds up what their steps would take.
    private struct Course {
        let speculation: Speculation
        var seconds: (Int) -> Double
        private(set) var total = 0.0
        private(set) var drafted = 0
        private(set) var accepted = 0
        /// The step that gave each text its last token.
        private(set) var ends: [UInt64: Int] = [:]
        private var steps = 0

        init(_ drafter: any Drafter = LookupDrafter(), seconds: @escaping (Int) -> Double) {
            speculation = Speculation(SpeculationConfiguration(), drafter: drafter)
            self.seconds = seconds
        }

        /// - Parameter prompts: tokens of each text that are there at the beginning.
        mutating func run(_ texts: [[Int32]], prompts: Int, firstID: UInt64 = 1) {
            var sequences = texts.enumerated().map { (index, text) in
                ScheduledSequence(
                    id: firstID + UInt64(index), priority: .chat, due: 0, ordinal: 0, tokens: Array(text[..<prompts]),
                    maximumTokens: text.count, scope: .request(UInt64(index)))
            }
            while !sequences.isEmpty {
                var drafts: [UInt64: [Int32]] = [:]
                speculation.propose(for: sequences, maximumRows: 200, besidePrompts: false) { drafts[$0] = $1 }
                let rows = sequences.count + drafts.values.reduce(0) { $0 + $1.count }
                for sequence in sequences {
                    let text = texts[Int(sequence.id - firstID)]
                    for guess in (drafts[sequence.id] ?? []) + [-1] {
                        let token = text[sequence.tokens.count]
                        sequence.tokens.append(token)
                        speculation.sampled(token, for: sequence.id)
                        guard token == guess, sequence.tokens.count < text.count else { break }
                        accepted += 1
                    }
                    drafted += drafts[sequence.id]?.count ?? 0
                }
                total += seconds(rows)
                steps += 1
                speculation.record(rows: rows, seconds: seconds(rows))
                for sequence in sequences where sequence.tokens.count == texts[Int(sequence.id - firstID)].count {
                    speculation.forget(sequence.id)
                    ends[sequence.id] = steps
                }
                sequences.removeAll { $0.tokens.count == texts[Int($0.id - firstID)].count }
            }
        }
    }

    /// A first row that reads all weights, further ones that cost little, until arithmetic is what takes the time.
    private static func alone(_ rows: Int) -> Double { max(3, 2.6 + 0.3 * Double(rows)) }

    private static func words(_ count: Int, seed: UInt64, vocabulary: Int32 = 5000) -> [Int32] {
        var random = SeededGenerator(seed: seed)
        // Few words are frequent and most are rare, as in a language.
        return (0..<count).map { _ in
            let share = Double.random(in: 0..<1, using: &random)
            return Int32(Double(vocabulary) * share * share * share)
        }
    }

    @Test func aQuotationAloneIsSeveralTimesFaster() {
        var course = Course(seconds: Self.alone)
        let passage = Self.words(300, seed: 1)
        course.run([passage + passage], prompts: 302)
        #expect(course.total < 0.45 * 298 * Self.alone(1))
    }

    @Test func aTextWithoutRepetitionsCostsNothingMore() {
        var course = Course(seconds: Self.alone)
        course.run([Self.words(2000, seed: 2)], prompts: 300)
        #expect(course.total < 1.01 * 1700 * Self.alone(1))
        // Not because nothing was ever found: words did repeat.
        #expect(course.drafted > 0)
    }

    @Test func amongManyRowsThatCostTheirShareNothingIsDrafted() {
        var course = Course { Double($0) }
        let texts = (0..<32 as Range<UInt64>).map { seed in
            let passage = Self.words(100, seed: seed)
            return passage + passage
        }
        course.run(texts, prompts: 110)
        #expect(course.total <= 1.02 * 90 * 32)
    }

    /// One that quotes beside seven that do not: the rows go to the one, and the others lose nothing.
    @Test func theSequenceThatQuotesGetsTheRows() {
        var course = Course { 5 + 0.25 * Double($0) }
        let passage = Self.words(200, seed: 50)
        let texts = [passage + passage] + (0..<7 as Range<UInt64>).map { Self.words(400, seed: $0) }
        course.run(texts, prompts: 210)
        #expect(Double(course.accepted) > 0.8 * Double(course.drafted))
        #expect(course.accepted > 120)
        #expect(course.total < 1.01 * 190 * 7)
        #expect(course.ends[2] == 190)
        #expect(course.ends[1].map { $0 < 60 } == true)
    }

    /// New matter first, then quotation: the guesses that were only compared tell when it begins.
    @Test func aQuotationThatBeginsLateIsNoticed() {
        var course = Course(seconds: Self.alone)
        let passage = Self.words(400, seed: 4)
        course.run([passage + Self.words(600, seed: 5) + passage], prompts: 400)
        #expect(course.total < (600 + 0.5 * 400) * Self.alone(1))
    }

    /// The machine changes: rows that were nearly free become dear, and are left out again.
    @Test func costsAreLearntAgain() {
        var course = Course(seconds: Self.alone)
        let passage = Self.words(200, seed: 6)
        course.run([passage + passage], prompts: 201)
        let before = course.total
        course.seconds = { 3 * Double($0) }
        course.run([passage + passage + passage], prompts: 201, firstID: 10)
        #expect(course.total - before < 1.15 * 399 * 3)
    }

    // MARK: A draft model

    private static func drafter(memory: Int, probe: FakeForwardPass.Probe, seconds: Double) -> ModelDrafter {
        var time = 0.0
        return ModelDrafter(
            pass: FakeForwardPass(
                blocks: 200, contextLength: 2000, maxRows: 256, memory: memory, probe: probe,
                onRun: { (_, _) throws(EngineError) in }), vocabulary: 97,
            clock: {
                time += seconds
                return time
            })
    }

    private static func greedyText(_ count: Int) -> [Int32] {
        let request = GenerationRequest(id: 1, prompt: [5, 6, 7], maxTokens: count, sampling: .greedy)
        return request.prompt + FakeForwardPass.expectedTokens(request)
    }

    @Test func aDraftModelThatIsNeverRightIsHardlyAsked() {
        let probe = FakeForwardPass.Probe()
        let drafter = Self.drafter(memory: 1, probe: probe, seconds: 0.3)
        var course = Course(drafter, seconds: Self.alone)
        let text = Self.greedyText(500)
        course.run([text], prompts: 3)
        #expect(course.drafted < 60)
        #expect(course.total + 0.3 * Double(probe.stepRows.count) < 1.05 * 500 * Self.alone(1))
        #expect(drafter.freeBlocks == 200)
        #expect(probe.violations.isEmpty)
        // A second one begins with what the first has taught.
        let steps = probe.stepRows.count
        course.run([text], prompts: 3, firstID: 5)
        #expect(probe.stepRows.count - steps < 20)
    }

    @Test func aSmallDraftModelThatIsRightPaysAndALargeOneDoesNot() {
        let text = Self.greedyText(400)
        let small = FakeForwardPass.Probe()
        var fast = Course(Self.drafter(memory: .max, probe: small, seconds: 0.3), seconds: Self.alone)
        fast.run([text], prompts: 3)
        #expect(fast.total + 0.3 * Double(small.stepRows.count) < 0.6 * 400 * Self.alone(1))
        #expect(fast.accepted > 250)

        let large = FakeForwardPass.Probe()
        var slow = Course(Self.drafter(memory: .max, probe: large, seconds: 3), seconds: Self.alone)
        slow.run([text], prompts: 3)
        #expect(slow.total + 3 * Double(large.stepRows.count) < 1.1 * 400 * Self.alone(1))
    }
}
