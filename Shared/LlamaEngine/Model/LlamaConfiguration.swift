/// The hyperparameters of a model, named as in Llama's paper where it names them; GGUF keys in parentheses, which begin with the
/// architecture's name (here `llama`).
public struct LlamaConfiguration: Sendable, Equatable {
    /// The family (`general.architecture`).
    public var architecture: Architecture
    /// Transformer blocks (`llama.block_count`).
    public var layers: Int
    /// Query heads (`llama.attention.head_count`).
    public var heads: Int
    /// Key and value heads, a divisor of ``heads`` (`llama.attention.head_count_kv`).
    public var kvHeads: Int
    /// Elements of one head (`llama.attention.key_length`, else embedding / heads).
    public var headSize: Int
    /// Width of the residual stream (`llama.embedding_length`).
    public var embedding: Int
    /// Width of the feed-forward network (`llama.feed_forward_length`).
    public var feedForward: Int
    /// Rows of the token embedding.
    public var vocabulary: Int
    /// Tokens of a sequence that the model was trained for (`llama.context_length`).
    public var contextLength: Int
    /// Leading elements of a head that are rotated (`llama.rope.dimension_count`, else the head size).
    public var ropeDimensions: Int
    /// Base of the rotation frequencies (`llama.rope.freq_base`, else 10000).
    public var ropeBase: Float
    /// Which elements of a head are rotated together, as the source stores its rows.
    public var ropePairing: RotaryPairing
    /// How the rotation is stretched (`llama.rope.scaling.*`).
    public var ropeScaling: RotaryScaling
    /// Added to the mean square in RMSNorm (`llama.attention.layer_norm_rms_epsilon`).
    public var rmsEpsilon: Float
    /// Latest positions that a row attends to, its own among them (`llama.attention.sliding_window`); nil attends to all.
    /// Row p reads the positions above p - slidingWindow. Always less than ``contextLength``.
    public var slidingWindow: Int?
    /// The output matrix is the token embedding.
    public var tiedOutput: Bool

    /// Elements of a head as the kernels have it: whole vectors of 16, zeros behind ``headSize``.
    var paddedHeadSize: Int { (headSize + 15) / 16 * 16 }

    public init(
        architecture: Architecture = .llama, layers: Int, heads: Int, kvHeads: Int, headSize: Int, embedding: Int,
        feedForward: Int, vocabulary: Int, contextLength: Int, ropeDimensions: Int, ropeBase: Float,
        ropePairing: RotaryPairing = .neighbours, ropeScaling: RotaryScaling = .none, rmsEpsilon: Float,
        slidingWindow: Int? = nil, tiedOutput: Bool
    ) {
        self.architecture = architecture
        self.layers = layers
        self.heads = heads
        self.kvHeads = kvHeads
        self.headSize = headSize
        self.embedding = embedding
        self.feedForward = feedForward
        self.vocabulary = vocabulary
        self.contextLength = contextLength
        self.ropeDimensions = ropeDimensions
        self.ropeBase = ropeBase
        self.ropePairing = ropePairing
        self.ropeScaling = ropeScaling
        self.rmsEpsilon = rmsEpsilon
        self.slidingWindow = slidingWindow
        self.tiedOutput = tiedOutput
    }
}
