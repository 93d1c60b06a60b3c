import LlamaEngine
import ModelFile
import Testing

/// The default model with int8 activations against llama.cpp's CPU engine on the same file, led along its tokens.
///
/// Both quantise activations, and a last bit decides where a value is rounded to, so two correct engines differ by a
/// noise, and the bounds are those of that noise. Small errors hide in it (a RoPE base off by 1 % does): the tests in
/// full precision find those in the parts that both share, these watch what only the quantised engine does.
@Suite(
    "With quantised activations, the engine",
    .enabled(if: DefaultModel.isPresent, Comment(rawValue: DefaultModel.missing)))
struct QuantizedGoldenTests {
    @Test("stays within rounding noise of llama.cpp")
    func noise() throws {
        let fixture = try GoldenFixture("llamacpp-q4_1.logits")
        try #require(fixture.positionCount >= 1280 && fixture.header.sample.count >= 512)
        let options = ModelOptions(maxRows: 256, kvBlocks: GoldenRun.blocks(for: fixture))
        let model = try LlamaModel(file: GGUFFile(path: GoldenModels.quantized), options: options)
        let run = try GoldenRun(fixture: fixture, pass: model.makeForwardPass(), name: "llamacpp-q4_1")

        var differences: [Double] = [], agreements = 0, largestGap: Float = 0
        try run.forEachPosition { prompt, step, logits in
            let reference = fixture.position(prompt: prompt, step: step)
            let (argmax, mean) = argmaxAndMean(logits)
            if argmax == reference.topIDs[0] {
                agreements += 1
            } else {
                largestGap = max(largestGap, reference.gap)
            }
            // Adding a constant to all logits changes nothing, hence the means, taken over the whole vocabulary.
            let shift = mean - Double(reference.mean)
            var sum = 0.0
            for (id, logit) in zip(fixture.header.sample, reference.sample) {
                let difference = Double(logits[Int(id)]) - Double(logit) - shift
                sum += difference * difference
            }
            differences.append((sum / Double(reference.sample.count)).squareRoot())
        }

        differences.sort()
        let median = try #require(differences.isEmpty ? nil : differences[differences.count / 2])
        let largest = try #require(differences.last)
        let agreement = Double(agreements) / Double(fixture.positionCount)
        print("centred rms: median \(median), maximum \(largest)")
        print("argmax agrees at \(agreement), largest gap where it does not \(largestGap)")
        #expect(median <= 0.16)
        #expect(largest <= 0.45)
        #expect(agreement >= 0.95)
        #expect(largestGap <= 0.6)
    }
}
