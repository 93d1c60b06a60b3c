import LlamaEngine
import ModelFile
import Testing

/// The F32 twin of the default model, run without quantising activations, against an independent NumPy implementation
/// on the same weights. Only the order of additions and the engine's F16 keys and values may tell them apart; the
/// latter make up most of the difference (NumPy with F16 keys and values differs from itself by up to 0.035).
@Suite(
    "In full precision, the engine", .serialized,
    .enabled(if: GoldenModels.hasFullPrecision, Comment(rawValue: GoldenModels.missingFullPrecision)))
struct FullPrecisionGoldenTests {
    /// Largest difference of a logit, and the largest gap of the reference at which another argmax is no error.
    static let tolerance: Float = 0.05

    @Test(
        "generates the NumPy reference's tokens, with its logits", arguments: [FullPrecisionBackend.openBLAS, .panel])
    func greedyTokens(backend: FullPrecisionBackend) throws {
        let fixture = try GoldenFixture("greedy-f32.logits")
        try #require(
            fixture.header.prompts.count >= 20 && fixture.header.steps >= 64 && fixture.header.sample.count >= 256)
        let options = ModelOptions(
            activations: .fullPrecision, fullPrecisionBackend: backend, maxRows: 256,
            kvBlocks: GoldenRun.blocks(for: fixture))
        let model = try LlamaModel(file: GGUFFile(path: GoldenModels.fullPrecision), options: options)
        let run = try GoldenRun(fixture: fixture, pass: model.makeForwardPass(), name: "greedy-f32-\(backend)")

        var largest: Float = 0, others = 0
        try run.forEachPosition { prompt, step, logits in
            let reference = fixture.position(prompt: prompt, step: step)
            let expected = fixture.header.prompts[prompt].output[step], argmax = argmaxAndMean(logits).argmax
            if argmax != expected {
                others += 1
                let place = "\(fixture.header.prompts[prompt].name), step \(step)"
                #expect(reference.gap < Self.tolerance, "\(place): \(argmax) instead of \(expected)")
            }
            var difference: Float = 0
            for (id, logit) in zip(reference.topIDs, reference.topLogits) {
                difference = max(difference, abs(logits[Int(id)] - logit))
            }
            for (id, logit) in zip(fixture.header.sample, reference.sample) {
                difference = max(difference, abs(logits[Int(id)] - logit))
            }
            if difference > Self.tolerance {
                Issue.record("\(fixture.header.prompts[prompt].name), step \(step): a logit is off by \(difference)")
            }
            largest = max(largest, difference)
        }
        print("\(backend): largest difference \(largest), \(others) of \(fixture.positionCount) argmaxes differ")
    }
}
