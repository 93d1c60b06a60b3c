import CKernels

/// All memory that a step works in, allocated once: the KV blocks, the residual stream, activations and logits.
final class StepMemory {
    /// `[layers][blocks][kvHeads]` of K `[headSize][16]` and V `[16][headSize]`. The head size is the padded one, here and below.
    let kv: UnsafeMutablePointer<UInt8>
    /// Bytes of one block in one layer.
    let kvBlockBytes: Int
    /// `[maxRows][logitsStride]`; pages are touched only for outputs that are asked for.
    let logits: UnsafeMutablePointer<Float>
    let logitsStride: Int
    let nonFinite: UnsafeMutableBufferPointer<UInt8>
    let tables: UnsafeMutableBufferPointer<UnsafePointer<Int32>?>
    let runs: UnsafeMutableBufferPointer<ck_run>

    /// `[maxRows][embedding]`.
    let residual: UnsafeMutablePointer<Float>
    /// `[maxRows][heads * headSize]`.
    let queries: UnsafeMutablePointer<Float>
    /// `[maxRows][kvHeads * headSize]` before their norm; nil where heads have none.
    let keys: UnsafeMutablePointer<Float>?
    /// `[maxRows][2][kvHeads * headSize]` finished keys and values before they are quantised; nil where they are not.
    let staged: UnsafeMutablePointer<Float>?
    /// `[maxRows][headSize]` each.
    let ropeCos, ropeSin: UnsafeMutablePointer<Float>
    /// Activations of `[maxRows]` rows in both forms; an operation takes the ones that its matrices need.
    let normed, attended, hidden: ck_activation
    /// `[maxRows][heads * headSize]` attention's output with its padding; nil where heads have none.
    let padded: ck_activation?
    /// `[CK_PART_ROWS][heads][partSplits][headSize + CK_PART_TAIL]`; pages are touched only where attention is cut at splits.
    let parts: UnsafeMutablePointer<Float>
    let partSplits: Int
    let scratch: UnsafeMutablePointer<UInt8>
    let scratchStride: Int
    let ropeTurns: UnsafeMutableBufferPointer<Double>

    private var pieces: [(UnsafeMutableRawPointer, Int)] = []

    private let kvBlocks: Int

    init(model: LlamaModel, kvBlocks: Int) throws(EngineError) {
        self.kvBlocks = kvBlocks
        let c = model.configuration, o = model.options
        var pieces: [(UnsafeMutableRawPointer, Int)] = []
        func map<T>(_ type: T.Type, _ factors: Int...) throws(EngineError) -> UnsafeMutableBufferPointer<T> {
            var bytes = MemoryLayout<T>.stride, overflow = false
            for factor in factors {
                let (product, over) = bytes.multipliedReportingOverflow(by: factor)
                bytes = product
                overflow = overflow || over
            }
            guard !overflow, bytes > 0, let memory = ck_map(bytes) else {
                for (memory, bytes) in pieces { ck_unmap(memory, bytes) }
                throw .unavailable("no memory for a step of \(o.maxRows) rows and \(kvBlocks) KV blocks")
            }
            pieces.append((memory, bytes))
            return UnsafeMutableBufferPointer(
                start: memory.bindMemory(to: type, capacity: bytes / MemoryLayout<T>.stride),
                count: bytes / MemoryLayout<T>.stride)
        }
        func pointer<T>(_ type: T.Type, _ a: Int, _ b: Int, _ c: Int = 1, _ d: Int = 1) throws(EngineError)
            -> UnsafeMutablePointer<T>
        {
            guard let base = try map(type, a, b, c, d).baseAddress else { throw .unavailable("no memory") }
            return base
        }
        let groups = (o.maxRows + Int(CK_GROUP) - 1) / Int(CK_GROUP)
        func activation(_ columns: Int) throws(EngineError) -> ck_activation {
            ck_activation(
                groups: try pointer(ck_group.self, groups, columns / Int(CK_BLOCK)),
                rows: try pointer(Float.self, o.maxRows, columns), columns: Int32(columns))
        }
        let head = c.paddedHeadSize
        kvBlockBytes = c.kvHeads * o.kvType.headBytes(head)
        kv = try pointer(UInt8.self, c.layers, kvBlocks, kvBlockBytes)
        logitsStride = (c.vocabulary + 15) / 16 * 16
        logits = try pointer(Float.self, o.maxRows, logitsStride)
        nonFinite = try map(UInt8.self, o.maxRows)
        tables = try map(UnsafePointer<Int32>?.self, o.maxRows)
        runs = try map(ck_run.self, o.maxRows)
        residual = try pointer(Float.self, o.maxRows, c.embedding)
        queries = try pointer(Float.self, o.maxRows, c.heads * head)
        keys =
            model.layers.contains { $0.keyNorm != nil }
            ? try pointer(Float.self, o.maxRows, c.kvHeads * head) : nil
        staged = o.kvType == .q8 ? try pointer(Float.self, o.maxRows, 2, c.kvHeads * head) : nil
        ropeCos = try pointer(Float.self, o.maxRows, head)
        ropeSin = try pointer(Float.self, o.maxRows, head)
        normed = try activation(c.embedding)
        attended = try activation(c.heads * c.headSize)
        padded =
            head == c.headSize
            ? nil
            : ck_activation(
                groups: nil, rows: try pointer(Float.self, o.maxRows, c.heads * head), columns: Int32(c.heads * head))
        hidden = try activation(c.feedForward)
        partSplits = (min(c.contextLength, kvBlocks * StepBatch.blockSize) + Int(CK_SPLIT) - 1) / Int(CK_SPLIT)
        parts = try pointer(Float.self, Int(CK_PART_ROWS), c.heads, partSplits, head + Int(CK_PART_TAIL))
        scratchStride = ck_scratch_bytes(Int32(head), Int32(c.embedding))
        scratch = try pointer(UInt8.self, o.threads, scratchStride)
        ropeTurns = try map(Double.self, max(model.ropeTurns.count, 1))
        _ = ropeTurns.update(from: model.ropeTurns)
        self.pieces = pieces
    }

    deinit {
        for (memory, bytes) in pieces { ck_unmap(memory, bytes) }
    }

    /// The kernels' view of it, without operations and without a step.
    func plan(model: LlamaModel) -> ck_plan {
        let c = model.configuration
        var plan = ck_plan()
        plan.variant = model.variant
        plan.sgemm = OpenBLASBackend.sgemm
        plan.embedding = Int32(c.embedding)
        plan.heads = Int32(c.heads)
        plan.kv_heads = Int32(c.kvHeads)
        plan.head_size = Int32(c.paddedHeadSize)
        plan.vocabulary = Int32(c.vocabulary)
        plan.logits_stride = Int32(logitsStride)
        plan.rope_pairs = Int32(c.ropeDimensions / 2)
        plan.rope_turns = UnsafePointer(ropeTurns.baseAddress)
        plan.rope_magnitude = c.ropeScaling.magnitude
        plan.epsilon = c.rmsEpsilon
        plan.query_scale = 1 / Float(c.headSize).squareRoot()
        plan.token_embedding = model.tokenEmbedding
        plan.kv = kv
        plan.kv_type = model.options.kvType.kernels
        plan.kv_value_offset = ck_kv_value_offset(plan.kv_type, plan.head_size)
        plan.kv_head_bytes = model.options.kvType.headBytes(c.paddedHeadSize)
        plan.window = Int32(c.slidingWindow ?? 0)
        plan.kv_blocks = Int32(kvBlocks)
        plan.x = residual
        plan.queries = queries
        plan.keys = keys
        plan.staged = staged
        plan.rope_cos = ropeCos
        plan.rope_sin = ropeSin
        plan.logits = logits
        plan.non_finite = nonFinite.baseAddress
        plan.parts = parts
        plan.part_splits = Int32(partSplits)
        plan.scratch = scratch
        plan.scratch_stride = scratchStride
        plan.threads = Int32(model.options.threads)
        plan.tables = UnsafePointer(tables.baseAddress)
        plan.runs = UnsafePointer(runs.baseAddress)
        return plan
    }
}
