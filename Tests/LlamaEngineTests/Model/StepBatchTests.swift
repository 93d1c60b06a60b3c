import LlamaEngine
import Testing

/// A batch that would lead the kernels outside their memory is refused with the name of its field.
@Suite struct StepBatchTests {
    static let spoilers: [(field: String, spoil: @Sendable (inout StepBatch) -> Void)] = [
        ("tokens[1]", { $0.tokens[1] = 203 }),
        ("tokens[0]", { $0.tokens[0] = -1 }),
        ("positions[2]", { $0.positions[2] = 1 }),
        ("positions[0]", { $0.positions[0] = -1 }),
        ("positions[3]", { $0.positions[3] = 1024 }),
        ("positions", { $0.positions.removeLast() }),
        ("sequences", { $0.sequences.removeLast() }),
        ("sequences[3]", { $0.sequences[3] = 1 }),
        ("sequences[0]", { $0.sequences[0] = -1 }),
        ("blockTables", { $0.positions[3] = 16 }),
        ("blockTables[0]", { $0.blockTables[0] = 8 }),
        ("blockTables[0]", { $0.blockTables[0] = -1 }),
        ("blockTableStart[0]", { $0.blockTableStart[0] = 2 }),
        ("outputRows[0]", { $0.outputRows[0] = 4 }),
        ("outputRows[1]", { $0.outputRows[1] = 0 }),
        ("tokens", { for _ in 0..<40 { $0.append(token: 0, position: 0, wantsLogits: false) } }),
    ]

    @Test(arguments: spoilers.indices) func isRefused(_ index: Int) throws {
        let pass = try TinyModel(types: [.f32]).pass(maxRows: 32, kvBlocks: 8)
        var batch = StepBatch()
        batch.beginSequence(blockTable: [3])
        for position in 0..<4 { batch.append(token: 1, position: Int32(position), wantsLogits: true) }
        try pass.run(batch)
        Self.spoilers[index].spoil(&batch)
        let error = #expect(throws: EngineError.self) { try pass.run(batch) }
        guard case .invalidBatch(let field, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(field == Self.spoilers[index].field)
    }
}
