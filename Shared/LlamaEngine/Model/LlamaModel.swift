import CKernels
import ModelFile

/// A Llama model (Touvron et al., 2023) with its weights in memory, repacked for this CPU. Forward passes share it.
///
/// `@unchecked Sendable`: everything is immutable after init; the pointers lead into the arena, which it owns.
public final class LlamaModel: @unchecked Sendable {
    public let configuration: LlamaConfiguration
    public let options: ModelOptions
    /// Equal ids give equal tokens: 16 hexadecimal digits.
    public let numericsID: String
    /// The kernels in use.
    public let kernels: KernelVariant
    /// What multiplies full-precision matrices, nil where the model has none.
    public let fullPrecisionBackend: FullPrecisionBackend?
    /// Name and core type of OpenBLAS where it is used.
    public let backendName: String?
    /// A row's bits do not depend on the rows beside it. False only where OpenBLAS was forced though it failed its test.
    public let isRowInvariant: Bool
    /// Bytes of the repacked weights.
    public let weightBytes: Int

    struct Layer {
        var attentionNorm: UnsafePointer<Float>
        var query, key, value, attentionOutput: ck_matrix
        /// nil where the model has none.
        var queryBias, keyBias, valueBias, attentionOutputBias: UnsafePointer<Float>?
        var queryNorm, keyNorm: UnsafePointer<Float>?
        var feedForwardNorm: UnsafePointer<Float>
        var gate, up, down: ck_matrix
        /// nil where the model has none.
        var gateBias, upBias, downBias: UnsafePointer<Float>?
    }

    let variant: UnsafePointer<ck_variant>
    let arena: WeightArena
    let tokenEmbedding: ck_matrix
    let layers: [Layer]
    let outputNorm: UnsafePointer<Float>
    let output: ck_matrix
    let outputBias: UnsafePointer<Float>?
    /// `[ropeDimensions / 2]` turns per position.
    let ropeTurns: [Double]

    public convenience init(file: GGUFFile, options: ModelOptions = ModelOptions()) throws(ModelError) {
        try self.init(source: .gguf(file), options: options)
    }

    /// Checks the weights against the hyperparameters and repacks them; their pages of the files are then released.
    public init(source: ModelSource, options: ModelOptions = ModelOptions()) throws(ModelError) {
        try options.check()
        let (kernels, variant) = try KernelVariant.choose(options.kernels)
        let configuration = try LlamaConfiguration(source: source), tensors = source.tensors
        var plan = try WeightPlan(source: tensors, configuration: configuration)
        if options.activations == .fullPrecision, let quantised = plan.firstQuantised {
            throw ModelError(
                field: "option activations",
                reason: "fullPrecision needs F32, F16 or BF16 weights; '\(quantised.name)' is \(quantised.type)")
        }
        let backend = Self.chooseBackend(options.fullPrecisionBackend, &plan)
        // Before repacking: hashing reads every page, and repacking releases them.
        let digest = tensors.contentHash

        let arena = try WeightArena(byteCount: plan.byteCount)
        var loader = WeightLoader(source: tensors, arena: arena)
        tokenEmbedding = try loader.matrix(plan.tokenEmbedding)
        var layers: [Layer] = []
        for layer in plan.layers {
            let attentionNorm = try loader.vector(layer.attentionNorm)
            let query = try loader.matrix(layer.query), key = try loader.matrix(layer.key)
            let value = try loader.matrix(layer.value), attentionOutput = try loader.matrix(layer.attentionOutput)
            let feedForwardNorm = try loader.vector(layer.feedForwardNorm)
            let (gate, up) = try loader.interleaved(layer.gate, layer.up)
            layers.append(
                Layer(
                    attentionNorm: attentionNorm, query: query, key: key, value: value,
                    attentionOutput: attentionOutput,
                    queryBias: try loader.vector(layer.queryBias), keyBias: try loader.vector(layer.keyBias),
                    valueBias: try loader.vector(layer.valueBias),
                    attentionOutputBias: try loader.vector(layer.attentionOutputBias),
                    queryNorm: try loader.vector(layer.queryNorm), keyNorm: try loader.vector(layer.keyNorm),
                    feedForwardNorm: feedForwardNorm, gate: gate, up: up,
                    down: try loader.matrix(layer.down),
                    gateBias: try loader.vector(layer.gateBias), upBias: try loader.vector(layer.upBias),
                    downBias: try loader.vector(layer.downBias)))
        }
        self.layers = layers
        outputNorm = try loader.vector(plan.outputNorm)
        output = if let separate = plan.output { try loader.matrix(separate) } else { tokenEmbedding }
        outputBias = try loader.vector(plan.outputBias)
        loader.fill()
        ropeTurns = RotaryFrequencies.turns(
            base: configuration.ropeBase, dimensions: configuration.ropeDimensions, scaling: configuration.ropeScaling,
            factors: try plan.ropeFactors.map { factors throws(ModelError) in try loader.factors(factors) })

        self.arena = arena
        self.variant = variant
        self.kernels = kernels
        self.configuration = configuration
        self.options = options
        fullPrecisionBackend = backend.kind
        backendName = backend.name
        isRowInvariant = backend.isRowInvariant
        weightBytes = plan.byteCount
        numericsID = NumericsID.make(
            modelDigest: digest, kvType: options.kvType, activations: options.activations,
            fullPrecisionBackend: backend.kind.map { backend.name ?? $0.rawValue })
    }

    /// A forward pass with its own KV cache, scratch memory and threads.
    ///
    /// - Parameter kvBlocks: blocks of the KV cache, 1...2^24; nil takes ``ModelOptions/kvBlocks``.
    public func makeForwardPass(kvBlocks: Int? = nil) throws(EngineError) -> LlamaForwardPass {
        try LlamaForwardPass(model: self, kvBlocks: kvBlocks ?? options.kvBlocks)
    }

    /// Bytes of one KV block of 16 tokens, all layers together.
    public var kvBlockBytes: Int {
        configuration.layers * configuration.kvHeads * options.kvType.headBytes(configuration.paddedHeadSize)
    }

    private static func chooseBackend(
        _ wanted: FullPrecisionBackend, _ plan: inout WeightPlan
    ) -> (kind: FullPrecisionBackend?, name: String?, isRowInvariant: Bool) {
        guard plan.hasFullPrecisionMatrices else { return (nil, nil, true) }
        guard wanted != .panel else { return (.panel, nil, true) }
        OpenBLASBackend.useOneThread()
        var rows = plan
        rows.useRows()
        let invariant = OpenBLASBackend.isRowInvariant(rows.blasShapes())
        guard invariant || wanted == .openBLAS else { return (.panel, nil, true) }
        plan = rows
        return (.openBLAS, OpenBLASBackend.name, invariant)
    }
}

extension ModelOptions {
    /// Bounds on what a setting may ask for.
    func check() throws(ModelError) {
        func require(_ value: Int, _ range: ClosedRange<Int>, _ name: String) throws(ModelError) {
            guard range.contains(value) else {
                throw ModelError(
                    field: "option \(name)", reason: "\(value) is not in \(range.lowerBound)...\(range.upperBound)")
            }
        }
        try require(threads, 1...64, "threads")
        try require(maxRows, 1...ModelOptions.maximumRows, "maxRows")
        try require(kvBlocks, 1...ModelOptions.maximumKVBlocks, "kvBlocks")
    }
}
