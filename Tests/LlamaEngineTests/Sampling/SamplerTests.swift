import CKernels
import Foundation
import SeededRandom
import Testing

@testable import LlamaEngine

@Suite struct SamplerTests {
    private static func logits(_ count: Int, spread: Float, _ random: inout SeededGenerator) -> [Float] {
        (0..<count).map { _ in
            // A sum of uniforms is close enough to a normal distribution.
            spread * ((0..<4).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &random) })
        }
    }

    private static func sample(
        _ logits: [Float], _ parameters: SamplingParameters, index: Int = 0, penalties: PenaltyCounts? = nil
    ) -> Int32? {
        var row = logits
        let sampler = Sampler(vocabulary: row.count)
        return row.withUnsafeMutableBufferPointer {
            sampler.sample($0, parameters: parameters, penalties: penalties, outputIndex: index)
        }
    }

    static let settings: [SamplingParameters] = [
        .greedy,
        .init(temperature: 1, topK: 0, topP: 1, minP: 0),
        .init(temperature: 0.3, topK: 0, topP: 1, minP: 0),
        .init(temperature: 5, topK: 0, topP: 1, minP: 0),
        .init(temperature: 1, topK: 1, topP: 1, minP: 0),
        .init(temperature: 1, topK: 7, topP: 1, minP: 0),
        .init(temperature: 1, topK: 300, topP: 1, minP: 0),
        .init(temperature: 1, topK: 1_000_000, topP: 1, minP: 0),
        .init(temperature: 1, topK: 0, topP: 0.9, minP: 0),
        .init(temperature: 20, topK: 0, topP: 0.5, minP: 0),
        .init(temperature: 1, topK: 0, topP: 0.000001, minP: 0),
        .init(temperature: 1, topK: 0, topP: 1, minP: 0.1),
        .init(temperature: 1, topK: 0, topP: 1, minP: 1),
        .init(temperature: 1.3, topK: 200, topP: 0.8, minP: 0.02),
        .init(),
    ]

    @Test(arguments: settings.indices)
    func drawsWhatThePlainReferenceDraws(setting: Int) throws {
        var random = SeededGenerator(seed: UInt64(setting))
        var compared = 0
        for (count, spread) in [(1, 1), (2, 1), (97, 3), (600, 0.1), (1500, 2), (1500, 6)] as [(Int, Float)] {
            for _ in 0..<3 {
                let logits = Self.logits(count, spread: spread, &random)
                var parameters = Self.settings[setting]
                let reference = ReferenceSampler(logits, parameters)
                if reference.isAmbiguous { continue }
                for index in 0..<12 {
                    parameters.seed = random.next()
                    let bits = Philox.bits(seed: parameters.seed, outputIndex: UInt64(index))
                    guard let expected = reference.token(random: bits) else { continue }
                    #expect(Self.sample(logits, parameters, index: index) == expected)
                    compared += 1
                }
            }
        }
        #expect(compared > 150)
    }

    @Test func drawsWhatTheReferenceDrawsFromAWholeVocabulary() {
        var random = SeededGenerator(seed: 99)
        var logits = Self.logits(49_152, spread: 1.5, &random)
        logits[40_000] = 9
        for parameters in [Self.settings[1], Self.settings[8], Self.settings[14]] {
            let reference = ReferenceSampler(logits, parameters)
            for index in 0..<4 {
                let bits = Philox.bits(seed: 0, outputIndex: UInt64(index))
                guard !reference.isAmbiguous, let expected = reference.token(random: bits) else { continue }
                #expect(Self.sample(logits, parameters, index: index) == expected)
            }
        }
    }

    @Test func penaltiesAreThoseOfTheReference() {
        var random = SeededGenerator(seed: 5)
        for _ in 0..<40 {
            var logits = Self.logits(50, spread: 2, &random)
            let prompt = (0..<20).map { _ in Int32.random(in: 0..<50, using: &random) }
            let output = (0..<20).map { _ in Int32.random(in: 0..<10, using: &random) }
            let parameters = SamplingParameters(
                temperature: 0, repetitionPenalty: .random(in: 0.5...2, using: &random),
                presencePenalty: .random(in: -2...2, using: &random),
                frequencyPenalty: .random(in: -2...2, using: &random))
            let sampled = Self.sample(logits, parameters, penalties: PenaltyCounts(prompt: prompt, output: output))
            ReferenceSampler.penalize(&logits, parameters, prompt: prompt, output: output)
            #expect(sampled == Self.sample(logits, .greedy))
        }
    }

    @Test func greedyTiesGoToTheLowestId() {
        var logits = [Float](repeating: -1, count: 3000)
        for id in [700, 701, 2999] { logits[id] = 2 }
        #expect(Self.sample(logits, .greedy) == 700)
        #expect(Self.sample([-0.0, 0.0, -0.0], .greedy) == 0)
        // Of equal logits, top_k keeps the lowest ids.
        let draws = (0..<60).map { Self.sample(logits, .init(temperature: 1, topK: 2, topP: 1, minP: 0), index: $0) }
        #expect(Set(draws) == [700, 701])
        let nucleus = (0..<60).map {
            Self.sample(logits, .init(temperature: 0.1, topK: 0, topP: 0.5, minP: 0), index: $0)
        }
        #expect(Set(nucleus) == [700, 701])
    }

    @Test func nonFiniteLogitsGiveNoToken() {
        for wrong in [Float.nan, .infinity, -.infinity] {
            for place in [0, 500, 999] {
                var logits = [Float](repeating: 0, count: 1000)
                logits[place] = wrong
                #expect(Self.sample(logits, .greedy) == nil)
                #expect(Self.sample(logits, .init()) == nil)
            }
        }
    }

    @Test func extremeButFiniteLogitsGiveAToken() {
        let huge = Float.greatestFiniteMagnitude
        #expect(Self.sample([-huge, huge, 0], .init(temperature: 0.001, topK: 0, topP: 0.5, minP: 0.5)) == 1)
        #expect(Self.sample([huge, huge], .init(temperature: 100, topK: 0, topP: 1, minP: 0)) != nil)
        #expect(Self.sample([-huge, -huge], .init(temperature: 100, topK: 1, topP: 0.1, minP: 1)) == 0)
    }

    @Test func frequenciesFollowTheProbabilities() {
        let logits: [Float] = [0, 1, 2, -1, 0.5]
        let weights = logits.map { exp(Double($0)) }
        let total = weights.reduce(0, +)
        let draws = 20_000
        var counts = [Int](repeating: 0, count: logits.count)
        let parameters = SamplingParameters(temperature: 1, topK: 0, topP: 1, minP: 0, seed: 1)
        for index in 0..<draws { Self.sample(logits, parameters, index: index).map { counts[Int($0)] += 1 } }
        let chiSquare = zip(counts, weights).reduce(0.0) { sum, pair in
            let expected = Double(draws) * pair.1 / total
            return sum + (Double(pair.0) - expected) * (Double(pair.0) - expected) / expected
        }
        // 4 degrees of freedom: 18.5 is exceeded once in a thousand; the seed is fixed.
        #expect(chiSquare < 18.5)
    }

    @Test func seedAndIndexDecideTheDraw() {
        var random = SeededGenerator(seed: 3)
        let logits = Self.logits(500, spread: 0.5, &random)
        func draws(seed: UInt64) -> [Int32?] {
            (0..<20).map {
                Self.sample(logits, .init(temperature: 1, topK: 0, topP: 1, minP: 0, seed: seed), index: $0)
            }
        }
        #expect(draws(seed: 1) == draws(seed: 1))
        #expect(draws(seed: 1) != draws(seed: 2))
        #expect(draws(seed: 1) != draws(seed: 1 << 32 | 1))
        #expect(Set(draws(seed: 1)).count > 10)
    }

    /// The vectors published with Random123 for philox4x32-10.
    @Test func philoxGivesThePublishedNumbers() {
        let ones = UInt32.max
        #expect(
            Philox.block(counter: SIMD4(0, 0, 0, 0), key: SIMD2(0, 0))
                == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
        #expect(
            Philox.block(counter: SIMD4(ones, ones, ones, ones), key: SIMD2(ones, ones))
                == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
        #expect(
            Philox.block(
                counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), key: SIMD2(0xa409_3822, 0x299f_31d0)
            )
                == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
    }

    @Test func exponentialIsCloseToTheTrueOne() {
        var worst = 0.0
        for step in 0...8000 {
            let x = -Float(step) * 0.01
            let exact = exp(Double(x))
            worst = max(worst, abs(Double(ck_sampler_exp(x)) - exact) / exact)
        }
        #expect(worst < 2e-7)
        #expect(ck_sampler_exp(0) == 1)
        #expect(ck_sampler_exp(-1000) == 0)
        #expect(ck_sampler_exp(-.infinity) == 0)
    }

    /// One number for many draws: the same on every CPU, or the numerics contract is broken.
    @Test func drawsAreTheSameOnEveryMachine() {
        var random = SeededGenerator(seed: 2024)
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for _ in 0..<20 {
            let logits = Self.logits(700, spread: 1, &random)
            for (index, parameters) in Self.settings.enumerated() {
                let token = Self.sample(logits, parameters, index: index) ?? -1
                hash = (hash ^ UInt64(UInt32(bitPattern: token))) &* 0x100_0000_01b3
            }
        }
        #expect(hash == 4_906_496_117_990_071_234)
    }

    @Test func parametersOutOfRangeAreNamed() {
        func field(_ change: (inout SamplingParameters) -> Void) -> String? {
            var parameters = SamplingParameters()
            change(&parameters)
            do throws(EngineError) { try parameters.validate() } catch {
                if case .invalidRequest(let field, _) = error { return field }
            }
            return nil
        }
        #expect(field { _ in } == nil)
        #expect(field { $0.temperature = -1 } == "temperature")
        #expect(field { $0.temperature = .nan } == "temperature")
        #expect(field { $0.topP = 0 } == "top_p")
        #expect(field { $0.topP = 1.5 } == "top_p")
        #expect(field { $0.minP = -0.1 } == "min_p")
        #expect(field { $0.topK = -1 } == "top_k")
        #expect(field { $0.repetitionPenalty = 0 } == "repetition_penalty")
        #expect(field { $0.presencePenalty = .infinity } == "presence_penalty")
        #expect(field { $0.frequencyPenalty = .nan } == "frequency_penalty")
    }
}
