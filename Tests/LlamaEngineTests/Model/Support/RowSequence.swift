import LlamaEngine
import ModelFile

/// Sequences as a test writes them, run through a forward pass in the steps that it wants.
struct RowSequence {
    var tokens: [Int32]
    var blocks: [Int32]

    /// A sequence of `count` random tokens whose blocks are `firstBlock`, `firstBlock + stride`...
    init(count: Int, vocabulary: Int, firstBlock: Int, stride: Int = 1, seed: UInt64) {
        var generator = RandomNumbers(seed: seed)
        tokens = (0..<count).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &generator) }
        blocks = (0..<(count + 15) / 16).map { Int32(firstBlock + $0 * stride) }
    }
}

/// A step: for each sequence, which of its positions.
func rows(_ parts: [(RowSequence, Range<Int>)]) -> StepBatch {
    var batch = StepBatch(maxRows: 64, maxSequences: 8, maxBlocks: 64)
    for (sequence, range) in parts {
        batch.beginSequence(blockTable: sequence.blocks)
        for position in range {
            batch.append(token: sequence.tokens[position], position: Int32(position), wantsLogits: true)
        }
    }
    return batch
}

extension ForwardPass {
    /// The logits' bits of each output of a step.
    func bits(_ batch: StepBatch) throws -> [[UInt32]] {
        try run(batch)
        return batch.outputRows.indices.map { logits($0).map(\.bitPattern) }
    }

    /// All logits of a sequence that is computed in chunks of these sizes.
    func bits(_ sequence: RowSequence, chunks: [Int]) throws -> [[UInt32]] {
        var result: [[UInt32]] = [], position = 0
        for chunk in chunks {
            result += try bits(rows([(sequence, position..<position + chunk)]))
            position += chunk
        }
        return result
    }
}

extension TinyModel {
    func pass(
        threads: Int = 1, kernels: KernelVariant? = nil, backend: FullPrecisionBackend = .panel, maxRows: Int = 512,
        kvBlocks: Int = 128
    ) throws -> LlamaForwardPass {
        let options = ModelOptions(
            threads: threads, kernels: kernels, fullPrecisionBackend: backend, maxRows: maxRows, kvBlocks: kvBlocks,
            kvType: kvType)
        return try LlamaModel(file: try file(), options: options).makeForwardPass()
    }
}
