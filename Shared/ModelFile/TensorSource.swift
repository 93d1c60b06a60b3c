/// The weights of a model under the names that GGUF has for them, whatever file they come from.
public protocol TensorSource: Sendable {
    /// By GGUF's name; a tensor that GGUF has no name for is there under its own.
    var tensors: [String: Tensor] { get }
    /// By GGUF's name, what the source has and nothing can be computed with.
    var unusable: [String: UnusableTensor] { get }
    /// What the source itself calls the tensor that GGUF calls `name`, for errors.
    func ownName(of name: String) -> String
    /// Runs `body` with the tensor's bytes, rows after each other; the pointer is valid only inside `body`, and may be odd.
    func withBytes<R, Failure: Error>(
        of tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R
    /// Gives the tensor's resident pages back to the system; it can still be read.
    func releasePages(of tensor: Tensor)
    /// 16 hexadecimal digits that tell models apart: the digest of every file that tokens depend on.
    var contentHash: String { get }
}

extension TensorSource {
    public var unusable: [String: UnusableTensor] { [:] }
}

extension GGUFFile: TensorSource {
    public func ownName(of name: String) -> String { name }
}

/// A model as people have it: one GGUF file, the files that one was cut into, or a folder of Hugging Face's files.
public enum ModelSource: Sendable {
    case gguf(GGUFFile)
    case shards(GGUFShards)
    case folder(ModelFolder)

    /// Opens and checks what lies at `path`; of a model in several GGUF files that is the first one.
    public init(path: String) throws(ModelFileError) {
        guard !ModelFolder.isFolder(path) else {
            self = .folder(try ModelFolder(path: path))
            return
        }
        let file = try GGUFFile(path: path)
        self = try GGUFShards.isShard(file) ? .shards(try GGUFShards(first: file, path: path)) : .gguf(file)
    }

    public var tensors: any TensorSource {
        switch self {
        case .gguf(let file): file
        case .shards(let shards): shards
        case .folder(let folder): folder
        }
    }

    /// Tokens of a sequence that the model was trained for.
    public var contextLength: Int {
        get throws(ModelFileError) {
            switch self {
            case .gguf(let file): try file.contextLength
            case .shards(let shards): try shards.first.contextLength
            case .folder(let folder): try folder.contextLength
            }
        }
    }
}

extension GGUFFile {
    fileprivate var contextLength: Int {
        get throws(ModelFileError) {
            try int("\(try string("general.architecture")).context_length", in: 1...(1 << 24))
        }
    }
}
