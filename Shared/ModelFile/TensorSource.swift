/// The weights of a model under the names that GGUF has for them, whatever file they come from.
public protocol TensorSource: Sendable {
    /// By GGUF's name; a tensor that GGUF has no name for is there under its own.
    var tensors: [String: Tensor] { get }
    /// What the source itself calls the tensor that GGUF calls `name`, for errors.
    func ownName(of name: String) -> String
    /// Runs `body` with the tensor's bytes, rows after each other; the pointer is valid only inside `body`.
    func withBytes<R, Failure: Error>(
        of tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R
    /// Gives the tensor's resident pages back to the system; it can still be read.
    func releasePages(of tensor: Tensor)
    /// 16 hexadecimal digits that tell models apart: the digest of every file that tokens depend on.
    var contentHash: String { get }
}

extension GGUFFile: TensorSource {
    public func ownName(of name: String) -> String { name }
}

/// A model as people have it: one GGUF file, or a folder of Hugging Face's files.
public enum ModelSource: Sendable {
    case gguf(GGUFFile)
    case folder(ModelFolder)

    /// Opens and checks what lies at `path`.
    public init(path: String) throws(ModelFileError) {
        self = ModelFolder.isFolder(path) ? .folder(try ModelFolder(path: path)) : .gguf(try GGUFFile(path: path))
    }

    public var tensors: any TensorSource {
        switch self {
        case .gguf(let file): file
        case .folder(let folder): folder
        }
    }

    /// Tokens of a sequence that the model was trained for.
    public var contextLength: Int {
        get throws(ModelFileError) {
            switch self {
            case .gguf(let file):
                try file.int("\(try file.string("general.architecture")).context_length", in: 1...(1 << 24))
            case .folder(let folder): try folder.int("max_position_embeddings", in: 1...(1 << 24))
            }
        }
    }
}
