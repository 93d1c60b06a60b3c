import ModelFile

/// Why a model file cannot be run, naming the tensor or the metadata key.
public struct ModelError: Error, Sendable, Equatable, CustomStringConvertible {
    /// For example `tensor 'blk.0.attn_q.weight' dimensions`, `metadata 'llama.block_count'` or `option threads`.
    public let field: String
    public let reason: String

    public init(field: String, reason: String) {
        self.field = field
        self.reason = reason
    }

    init(_ error: ModelFileError) {
        self.init(field: error.field, reason: error.reason)
    }

    public var description: String { "model: \(field): \(reason)" }
}
