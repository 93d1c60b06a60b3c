import ModelFile
import Testing

@testable import LlamaEngine

/// The same promises on the real weights.
@Suite(.enabled(if: DefaultModel.isPresent, Comment(rawValue: DefaultModel.missing))) struct DefaultModelTests {
    func pass(threads: Int = 1, kernels: KernelVariant? = nil) throws -> LlamaForwardPass {
        let file = try GGUFFile(path: try #require(DefaultModel.path))
        return try LlamaModel(
            file: file, options: ModelOptions(threads: threads, kernels: kernels, maxRows: 320, kvBlocks: 128)
        )
        .makeForwardPass()
    }

    @Test func everyVariantGivesTheScalarTwinsBits() throws {
        let sequence = RowSequence(count: 21, vocabulary: 49152, firstBlock: 0, seed: 1)
        let expected = try pass(threads: 2, kernels: .scalar).bits(sequence, chunks: [15, 1, 5])
        for variant in KernelVariant.available where variant != .scalar {
            #expect(try pass(kernels: variant).bits(sequence, chunks: [15, 1, 5]) == expected, "\(variant)")
        }
    }

    @Test func batchThreadsAndChunksDoNotMatter() throws {
        let subject = RowSequence(count: 300, vocabulary: 49152, firstBlock: 0, seed: 2)
        let wanted = Array(298..<300).map { Int32($0) }
        let one = try pass(threads: 1), two = try pass(threads: 2)
        var whole = rows([(subject, 0..<300)])
        whole.outputRows = wanted
        let expected = try one.bits(whole)

        let others = (0..<16).map {
            RowSequence(count: 30, vocabulary: 49152, firstBlock: 20 + 2 * $0, seed: UInt64(50 + $0))
        }
        var chunk = rows([(others[0], 0..<30), (subject, 0..<97)])
        chunk.outputRows = []
        try two.run(chunk)
        chunk = rows([(subject, 97..<298)])
        chunk.outputRows = []
        try two.run(chunk)
        for position in 298..<300 {
            let at = position - 298
            var parts = others[1..<4].map { ($0, at * 4..<at * 4 + 4) }
            parts.append((subject, position..<position + 1))
            parts += others[4...].map { ($0, at..<at + 1) }
            #expect(try two.bits(rows(parts))[12] == expected[at])
        }
    }
}
