import ArgumentParser
import Foundation
import LlamaEngine
import ModelFile

struct Perplexity: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measures how well a model foretells a text.",
        discussion: """
            The text is cut into chunks of the context's length, and the second half of each is scored, so that every scored
            token has at least half a context before it.
            """)

    @OptionGroup var model: ModelArguments

    @Option(help: "Tokens of a chunk.")
    var context = 512

    @Option(help: "The text.")
    var file: String

    func validate() throws {
        guard (4...131_072).contains(context) else { throw ValidationError("--context must be between 4 and 131072") }
    }

    func run() throws {
        let rows = min(context, 512)
        let loaded = try model.load(maxRows: rows, kvBlocks: context / StepBatch.blockSize + 2)
        guard let data = FileManager.default.contents(atPath: file) else {
            throw ValidationError("\(file) cannot be read")
        }
        let text = String(decoding: data, as: UTF8.self)
        let tokens = loaded.tokenizer.encode(text, parseSpecial: false, addSpecial: true)
        guard tokens.count >= 2 * context else {
            throw ValidationError("\(file) has \(tokens.count) tokens; \(2 * context) are needed for this context")
        }
        let pass = try loaded.model.makeForwardPass()
        var sum = 0.0
        var count = 0
        for start in stride(from: 0, through: tokens.count - context, by: context) {
            var chunk = Array(tokens[start..<start + context])
            // Each chunk begins as a text does, where the model wants that.
            if loaded.tokenizer.addBOS, let bos = loaded.tokenizer.bos { chunk[0] = bos }
            try score(chunk, rows: rows, pass: pass) { loss in
                sum += loss
                count += 1
            }
        }
        print("{\"perplexity\":\(exp(sum / Double(count))),\"tokens\":\(count)}")
    }

    /// Runs a chunk and reports -log p of each token of its second half.
    private func score(_ chunk: [Int32], rows: Int, pass: LlamaForwardPass, report: (Double) -> Void) throws {
        let table = (0..<Int32(chunk.count / StepBatch.blockSize + 1)).map { $0 }
        var batch = StepBatch(maxRows: rows, maxSequences: 1, maxBlocks: table.count)
        let firstScored = chunk.count / 2
        for start in stride(from: 0, to: chunk.count, by: rows) {
            let end = min(start + rows, chunk.count)
            batch.removeAll()
            batch.beginSequence(blockTable: table)
            // The logits at a position foretell the next token; the last position has none to foretell.
            let scored = (start..<end).filter { $0 >= firstScored && $0 + 1 < chunk.count }
            for position in start..<end {
                batch.append(token: chunk[position], position: Int32(position), wantsLogits: scored.contains(position))
            }
            try pass.run(batch)
            for (output, position) in scored.enumerated() {
                report(negativeLogProbability(of: chunk[position + 1], in: pass.logits(output)))
            }
        }
    }

    private func negativeLogProbability(of token: Int32, in logits: UnsafeMutableBufferPointer<Float>) -> Double {
        let highest = Double(logits.max() ?? 0)
        let total = logits.reduce(0.0) { $0 + exp(Double($1) - highest) }
        return log(total) + highest - Double(logits[Int(token)])
    }
}
