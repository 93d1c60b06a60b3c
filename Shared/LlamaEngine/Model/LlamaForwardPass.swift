import CKernels

/// The forward pass of a ``LlamaModel``: one flat list of operations, built once and run by a team of threads in one call a step.
public final class LlamaForwardPass: ForwardPass {
    public let model: LlamaModel
    public var vocabulary: Int { model.configuration.vocabulary }
    public let kvBlockCount: Int
    public var contextLength: Int { model.configuration.contextLength }
    public var maxRows: Int { model.options.maxRows }
    public var numericsID: String { model.numericsID }
    /// Half a millisecond for 100 MB of weights.
    public var expectedRowSeconds: Double { Double(model.weightBytes) * 5e-12 }

    /// Threads of the next steps, 1...``ModelOptions/threads``; nil chooses by the step's rows and what was measured. Any number
    /// gives the same bits.
    public var activeThreads: Int? {
        didSet { activeThreads = activeThreads.map { min(max($0, 1), model.options.threads) } }
    }

    let memory: StepMemory
    private var stepThreads: StepThreads
    private let plan: UnsafeMutablePointer<ck_plan>
    let operations: UnsafeMutableBufferPointer<ck_op>
    let team: OpaquePointer
    private let sampler: BatchSampler

    init(model: LlamaModel, kvBlocks: Int) throws(EngineError) {
        guard (1...ModelOptions.maximumKVBlocks).contains(kvBlocks) else {
            throw .unavailable("\(kvBlocks) KV blocks are not in 1...\(ModelOptions.maximumKVBlocks)")
        }
        kvBlockCount = kvBlocks
        guard let team = ck_team_create(Int32(model.options.threads)) else {
            throw .unavailable("cannot start \(model.options.threads) threads")
        }
        do {
            memory = try StepMemory(model: model, kvBlocks: kvBlocks)
        } catch {
            ck_team_destroy(team)
            throw error
        }
        self.model = model
        self.team = team
        sampler = BatchSampler(
            vocabulary: model.configuration.vocabulary, threads: model.options.threads, maxRows: model.options.maxRows)
        stepThreads = StepThreads(threads: model.options.threads)
        let list = OperationList.make(model: model, memory: memory)
        operations = .allocate(capacity: list.count)
        _ = operations.initialize(from: list)
        plan = .allocate(capacity: 1)
        plan.initialize(to: memory.plan(model: model))
        plan.pointee.ops = UnsafePointer(operations.baseAddress)
        plan.pointee.op_count = Int32(operations.count)
    }

    deinit {
        ck_team_destroy(team)
        plan.deallocate()
        operations.deallocate()
    }

    public func run(_ batch: borrowing StepBatch) throws(EngineError) {
        try batch.check(for: self)
        guard batch.rowCount > 0 else { return }
        batch.tokens.withUnsafeBufferPointer { tokens in
            batch.positions.withUnsafeBufferPointer { positions in
                batch.blockTables.withUnsafeBufferPointer { tables in
                    batch.outputRows.withUnsafeBufferPointer { outputs in
                        plan.pointee.rows = Int32(tokens.count)
                        plan.pointee.threads = Int32(activeThreads ?? stepThreads.threads(rows: tokens.count))
                        plan.pointee.outputs = Int32(outputs.count)
                        plan.pointee.tokens = tokens.baseAddress
                        plan.pointee.positions = positions.baseAddress
                        plan.pointee.output_rows = outputs.baseAddress
                        plan.pointee.run_count = prepareSequences(batch, tables)
                        memory.nonFinite.update(repeating: 0)
                        let start = ContinuousClock.now
                        ck_plan_run(team, plan)
                        guard activeThreads == nil else { return }
                        stepThreads.record(
                            rows: tokens.count, nanoseconds: (ContinuousClock.now - start) / .nanoseconds(1))
                    }
                }
            }
        }
        let outputs = batch.outputRows.count
        guard memory.nonFinite[..<outputs].contains(where: { $0 != 0 }) else { return }
        throw .nonFiniteLogits(outputs: (0..<outputs).filter { memory.nonFinite[$0] != 0 })
    }

    public func logits(_ output: Int) -> UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: memory.logits + output * memory.logitsStride, count: vocabulary)
    }

    /// On the threads of the last step: they still look out for work.
    public func sample(_ draws: inout [TokenDraw]) {
        sampler.sample(&draws, team: team, threads: max(1, Int(plan.pointee.threads))) { [memory] output in
            UnsafePointer(memory.logits + output * memory.logitsStride)
        }
    }

    public func copyBlock(from: Int32, to: Int32) {
        guard from != to, (0..<kvBlockCount).contains(Int(from)), (0..<kvBlockCount).contains(Int(to)) else { return }
        let bytes = memory.kvBlockBytes
        for layer in 0..<model.configuration.layers {
            let base = UnsafeMutableRawPointer(memory.kv) + layer * kvBlockCount * bytes
            (base + Int(to) * bytes).copyMemory(from: base + Int(from) * bytes, byteCount: bytes)
        }
    }

    public var blockBytes: Int { memory.kvBlockBytes * model.configuration.layers }

    public func saveBlock(_ block: Int32, to bytes: UnsafeMutableRawPointer) {
        for (layer, address) in addresses(of: block).enumerated() {
            (bytes + layer * memory.kvBlockBytes).copyMemory(from: address, byteCount: memory.kvBlockBytes)
        }
    }

    public func restoreBlock(_ block: Int32, from bytes: UnsafeRawPointer) {
        for (layer, address) in addresses(of: block).enumerated() {
            address.copyMemory(from: bytes + layer * memory.kvBlockBytes, byteCount: memory.kvBlockBytes)
        }
    }

    /// Where a block lies in each layer.
    private func addresses(of block: Int32) -> some Sequence<UnsafeMutableRawPointer> {
        let layers = (0..<kvBlockCount).contains(Int(block)) ? model.configuration.layers : 0
        return (0..<layers).lazy.map { [memory, kvBlockCount] layer in
            UnsafeMutableRawPointer(memory.kv) + (layer * kvBlockCount + Int(block)) * memory.kvBlockBytes
        }
    }

    /// Each row's block table, and the runs of rows that attention takes together.
    private func prepareSequences(_ batch: borrowing StepBatch, _ tables: UnsafeBufferPointer<Int32>) -> Int32 {
        let runRows = Int(ck_run_rows(plan.pointee.heads, plan.pointee.kv_heads))
        var runs = 0, row = 0
        while row < batch.rowCount {
            let sequence = batch.sequences[row]
            let table = tables.baseAddress.map { $0 + Int(batch.blockTableStart[Int(sequence)]) }
            var end = row
            while end < batch.rowCount, batch.sequences[end] == sequence, end - row < runRows {
                memory.tables[end] = table
                end += 1
            }
            memory.runs[runs] = ck_run(row: Int32(row), count: Int32(end - row), table: table)
            runs += 1
            row = end
        }
        return Int32(runs)
    }
}

extension LlamaForwardPass {
    /// Bytes of the KV cache when every block is used.
    public var kvBytes: Int { memory.kvBlockBytes * kvBlockCount * model.configuration.layers }
}
