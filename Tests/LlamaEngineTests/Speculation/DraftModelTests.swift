import ModelFile
import SeededRandom
import Testing

@testable import LlamaEngine

/// Small random models with real kernels as model and as draft model.
@Suite struct DraftModelTests {
    private static func model(seed: UInt64, layers: Int = 2) throws -> LlamaModel {
        try LlamaModel(
            file: TinyModel(types: [.q8_0, .f16], layers: layers, seed: seed).file(),
            options: ModelOptions(threads: 1, maxRows: 64, kvBlocks: 128))
    }

    private static func requests(greedy: Bool) -> [GenerationRequest] {
        var random = SeededGenerator(seed: 12)
        return (1...10 as ClosedRange<UInt64>).map { id in
            GenerationRequest(
                id: id, prompt: (0..<Int(id) * 3).map { _ in Int32.random(in: 0..<203, using: &random) },
                maxTokens: 50,
                sampling: greedy
                    ? .greedy : SamplingParameters(temperature: 0.5, repetitionPenalty: 1.02, seed: random.next()))
        }
    }

    private static func run(
        _ model: LlamaModel, _ draft: LlamaModel?, greedy: Bool, policy: SpeculationConfiguration.Policy
    ) async throws -> (tokens: [[Int32]], statistics: EngineStatistics) {
        let log = EventLog()
        var speculation = SpeculationConfiguration(mode: draft == nil ? .off : .draft)
        speculation.policy = policy
        let engine = try Engine(
            pass: model.makeForwardPass(), draftPass: draft?.makeForwardPass(), rules: StopRules(),
            configuration: EngineConfiguration(speculation: speculation), onStep: log.append)
        let requests = requests(greedy: greedy)
        for request in requests { try engine.submit(request) }
        await engine.shutdown(.drain)
        #expect(engine.statistics.integrityFaults == 0)
        return (requests.map { log.tokens(of: $0.id) }, engine.statistics)
    }

    @Test(arguments: [true, false])
    func whateverTheDraftModelTheTokensAreTheModels(greedy: Bool) async throws {
        let model = try Self.model(seed: 1)
        let plain = try await Self.run(model, nil, greedy: greedy, policy: .measured)
        #expect(plain.statistics.draftTokens == 0)

        let itself = try await Self.run(model, Self.model(seed: 1), greedy: greedy, policy: .always(6))
        #expect(itself.tokens == plain.tokens)
        #expect(itself.statistics.draftTokensAccepted > 100)
        // Its own most likely tokens are what greedy sampling takes, bit for bit.
        #expect((itself.statistics.draftTokensAccepted == itself.statistics.draftTokens) == greedy)

        let other = try await Self.run(model, Self.model(seed: 2, layers: 1), greedy: greedy, policy: .always(6))
        #expect(other.tokens == plain.tokens)
        #expect(other.statistics.draftTokensAccepted * 2 < other.statistics.draftTokens)
        let measured = try await Self.run(model, Self.model(seed: 2, layers: 1), greedy: greedy, policy: .measured)
        #expect(measured.tokens == plain.tokens)
    }
}
