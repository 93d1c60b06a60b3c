import Foundation
import LlamaEngine

/// What sampling adds to a step of many rows, on the threads of the forward pass.
///
/// The logits are random, made once: none of the settings has it easy with them, for no token stands out.
struct BenchSampling {
    let loaded: LoadedModel
    let repeats: Int
    let json: Bool

    static let rows = 32
    private static let prompt = 128, generate = 32
    /// KV blocks that the decode beside it needs.
    static let blocks = rows * ((prompt + generate) / StepBatch.blockSize + 1)
    private static let calls = 40

    private static let settings: [(name: String, parameters: SamplingParameters)] = [
        ("greedy", .greedy),
        ("defaults", SamplingParameters()),
        ("temperature 1, all tokens", SamplingParameters(temperature: 1, topK: 0, topP: 1, minP: 0)),
        ("top_p 0.95 of all tokens", SamplingParameters(temperature: 1, topK: 0, topP: 0.95, minP: 0)),
    ]

    func run() throws {
        let pass = try loaded.model.makeForwardPass()
        let course = BenchCourse(pass: pass, chunk: 512)
        let seconds = try (0...repeats).map { _ in
            try course.decode(sequences: Self.rows, prompt: Self.prompt, tokens: Self.generate)
        }
        let step = Array(seconds.dropFirst()).median / Double(Self.generate) * 1e6
        fillLogits(of: pass)
        for (name, parameters) in Self.settings {
            var draws = (0..<Self.rows).map { output in
                TokenDraw(output: output, parameters: parameters, outputIndex: output)
            }
            pass.sample(&draws)
            let times = (0..<Self.calls).map { _ in
                let start = ContinuousClock.now
                pass.sample(&draws)
                return (ContinuousClock.now - start) / .microseconds(1)
            }
            report(name, times.median, step)
        }
    }

    /// Over those of the last step. About normal, with a standard deviation of 3.
    private func fillLogits(of pass: LlamaForwardPass) {
        var state: UInt64 = 1
        func uniform() -> Float {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(state >> 40) / Float(1 << 23) - 1
        }
        for output in 0..<Self.rows {
            let row = pass.logits(output)
            for token in row.indices { row[token] = 2.6 * (uniform() + uniform() + uniform() + uniform()) }
        }
    }

    private func report(_ name: String, _ time: Double, _ step: Double) {
        let percent = (time / step * 1000).rounded() / 10
        print(
            json
                ? """
                {"test":"sampling","settings":"\(name)","batch":\(Self.rows),"microseconds":\(Int(time)),\
                "decode_step_microseconds":\(Int(step)),"percent_of_step":\(percent)}
                """
                : "sampling batch \(Self.rows), \(name): \(Int(time)) us, \(percent) % of a decode step of \(Int(step)) us"
        )
    }
}
