/// A set of kernels for one kind of CPU. All sets give the same bits (docs/numerics.md).
public enum KernelVariant: String, Sendable, CaseIterable {
    case scalar, avx2, avxvnni, avx512, neon, neondot
}

/// How activations meet the weights of a matrix.
public enum ActivationMode: String, Sendable {
    /// Quantised weights meet int8 activations, F32, F16 and BF16 weights meet F32 activations.
    case quantized
    /// No activation is quantised.
    case fullPrecision
}

/// What multiplies full-precision matrices.
public enum FullPrecisionBackend: String, Sendable, CaseIterable {
    /// OpenBLAS where its self-test shows that a row's bits do not depend on the rows beside it, else the panel kernel.
    case automatic
    case openBLAS
    case panel
}

/// How a model is loaded and run.
public struct ModelOptions: Sendable {
    /// Threads of a step, the caller's among them: 1...64.
    public var threads: Int
    /// nil: `SWITCHBOARD_KERNELS` if it is set, else the best that this CPU has.
    public var kernels: KernelVariant?
    public var activations: ActivationMode
    public var fullPrecisionBackend: FullPrecisionBackend
    /// Rows of one step.
    public var maxRows: Int
    /// Physical KV blocks of 16 tokens.
    public var kvBlocks: Int
    public var kvType: KVType

    /// Rows of one step, at most.
    public static let maximumRows = 4096
    /// Blocks of one KV cache, at most.
    public static let maximumKVBlocks = 1 << 24

    public init(
        threads: Int = 2, kernels: KernelVariant? = nil, activations: ActivationMode = .quantized,
        fullPrecisionBackend: FullPrecisionBackend = .automatic, maxRows: Int = 512, kvBlocks: Int = 1024,
        kvType: KVType = .f16
    ) {
        self.threads = threads
        self.kernels = kernels
        self.activations = activations
        self.fullPrecisionBackend = fullPrecisionBackend
        self.maxRows = maxRows
        self.kvBlocks = kvBlocks
        self.kvType = kvType
    }
}
