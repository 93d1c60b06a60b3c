import Synchronization

/// A GGUF model file, version 2 or 3, little-endian, mapped read-only (format: gguf.md of the ggml project).
///
/// Opening reads and checks the whole header (metadata and tensor directory) and touches no tensor: after it, every
/// range that this type gives out is inside the file. Opening a file for its tokenizer only costs the same few
/// milliseconds.
public final class GGUFFile: Sendable {
    /// Bounds on what the header may declare; files in use have about 40 entries and a few thousand tensors.
    static let metadataLimit = 1 << 16
    static let tensorLimit = 1 << 16
    static let keyLengthLimit = 256
    static let tensorNameLimit = 64
    static let alignments = 8...(1 << 20)

    public let version: UInt32
    public let metadata: [String: MetadataValue]
    /// By name.
    public let tensors: [String: Tensor]
    /// In the order of the file's directory.
    public let tensorList: [Tensor]
    /// What tensor offsets are multiples of, in bytes.
    public let alignment: Int

    let file: MappedFile
    private let hash = Mutex<UInt64?>(nil)

    /// Opens and checks the file at `path`.
    public convenience init(path: String) throws(ModelFileError) {
        try self.init(file: MappedFile(path: path))
    }

    /// Checks a file that is already in memory; the bytes are copied once.
    public convenience init(contents: [UInt8]) throws(ModelFileError) {
        try self.init(file: MappedFile(contents: contents))
    }

    private init(file: MappedFile) throws(ModelFileError) {
        var reader = ByteReader(file.bytes)
        let header = try reader.header()
        let metadata = try reader.metadata(count: header.metadataCount)
        let alignment = try Self.alignment(metadata)
        let list = try reader.tensorDirectory(count: header.tensorCount, alignment: alignment)

        self.file = file
        self.version = header.version
        self.metadata = metadata
        self.alignment = alignment
        self.tensorList = list
        self.tensors = Dictionary(uniqueKeysWithValues: list.map { ($0.name, $0) })
    }

    /// Bytes of the whole file.
    public var byteCount: Int { file.bytes.count }

    /// Runs `body` with the tensor's bytes, rows after each other; the pointer is valid only inside `body`.
    public func withBytes<R, Failure: Error>(
        of tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R {
        try body(UnsafeRawBufferPointer(rebasing: file.bytes[range(of: tensor)]))
    }

    /// Gives the tensor's resident pages back to the system, for use after its contents were repacked elsewhere. The
    /// tensor can still be read; its pages then come back from the page cache or the disk.
    public func releasePages(of tensor: Tensor) {
        file.releasePages(range(of: tensor))
    }

    /// A digest of the whole file as 16 hexadecimal digits, equal on every machine: XXH64 with seed 0. Reads the
    /// file once, on the first call.
    ///
    /// It tells model files apart within a fleet; it is no proof against a forger, who could as well announce a wrong
    /// digest. XXH64 and not SHA-256, because every node pays for it at every start and it runs at memory speed: a
    /// tenth of the time of a portable SHA-256. Its rounds are bijective, so a change inside one aligned group of eight
    /// bytes never goes unseen; unrelated files collide with probability 2⁻⁶⁴.
    public var contentHash: String {
        let digest = hash.withLock { cached in
            if let cached { return cached }
            let computed = XXH64.digest(of: file)
            cached = computed
            return computed
        }
        let digits = String(digest, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private func range(of tensor: Tensor) -> Range<Int> {
        // Tensors are made by a GGUFFile only; what can go wrong is a caller's mixing of two files.
        precondition(tensors[tensor.name] == tensor, "the tensor belongs to another file")
        return Int(tensor.offset)..<Int(tensor.offset) + tensor.byteCount
    }
}
