import Foundation
import Synchronization

/// A model as Hugging Face's `transformers` saves it: config.json, weights in safetensors (one file, or shards with an index),
/// tokenizer.json, and what goes with them.
///
/// Opening reads config.json and the headers of the weights. Tensors get GGUF's names, under which the engine knows them.
public final class ModelFolder: Sendable {
    static let jsonLimit = 128 << 20
    static let shardLimit = 1024

    /// What tokens depend on besides the weights: the ends of turns stand in the last two.
    private static let tokenFiles = [
        "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
    ]

    public let path: String
    public let tensors: [String: Tensor]
    public let unusable: [String: UnusableTensor]
    let configuration: JSONValue
    private let shards: [SafeTensorsFile]
    /// The shard that holds a tensor, by the tensor's own name.
    private let places: [String: Int]
    /// Name and digest of the other files that tokens depend on.
    private let digests: [String]
    private let hash = Mutex<String?>(nil)

    public static func isFolder(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }

    public init(path: String) throws(ModelFileError) {
        self.path = path
        guard let configuration = try Self.json("config.json", in: path) else {
            throw ModelFileError(offset: nil, field: "config.json", reason: "is missing")
        }
        self.configuration = configuration
        let index = try Self.json("model.safetensors.index.json", in: path).map { value throws(ModelFileError) in
            try ShardIndex(value)
        }
        var shards: [SafeTensorsFile] = [], places: [String: Int] = [:], tensors: [String: Tensor] = [:]
        var unusable: [String: UnusableTensor] = [:]
        for name in index?.files ?? ["model.safetensors"] {
            let shard = try SafeTensorsFile(try Self.map(name, in: path), name: name)
            for tensor in shard.tensors.map(\.name) + shard.unusable.keys.sorted() {
                try index?.check(tensor, in: name)
                guard places.updateValue(shards.count, forKey: tensor) == nil else {
                    throw ModelFileError(offset: nil, field: "\(name) tensor '\(tensor)'", reason: "appears twice")
                }
            }
            for (tensor, reason) in shard.unusable { unusable[TensorNames.gguf(tensor) ?? tensor] = reason }
            for tensor in shard.tensors {
                // A buffer that old versions saved; the frequencies follow from the configuration.
                if tensor.name.hasSuffix(".rotary_emb.inv_freq") { continue }
                tensors[TensorNames.gguf(tensor.name) ?? tensor.name] = tensor
            }
            shards.append(shard)
        }
        if let lost = index?.names.first(where: { places[$0] == nil }) {
            throw ModelFileError(
                offset: nil, field: "model.safetensors.index.json 'weight_map.\(lost)'", reason: "is in no file")
        }
        self.digests = try Self.tokenFiles.filter { Self.has($0, in: path) }
            .map { name throws(ModelFileError) in "\(name) \(XXH64.digest(of: try Self.map(name, in: path)))" }
        self.shards = shards
        self.places = places
        self.tensors = tensors
        self.unusable = unusable
    }

    /// A JSON file of the folder, nil where there is none.
    func json(_ name: String) throws(ModelFileError) -> JSONValue? { try Self.json(name, in: path) }

    /// The bytes of a small file of the folder, nil where there is none.
    func data(_ name: String) throws(ModelFileError) -> Data? {
        guard Self.has(name, in: path) else { return nil }
        let file = try Self.map(name, in: path)
        guard file.bytes.count <= Self.jsonLimit else {
            throw ModelFileError(offset: nil, field: name, reason: "has more than \(Self.jsonLimit) bytes")
        }
        return Data(file.bytes)
    }

    /// A text file of the folder, nil where there is none.
    func text(_ name: String) throws(ModelFileError) -> String? {
        guard Self.has(name, in: path) else { return nil }
        let file = try Self.map(name, in: path)
        guard file.bytes.count <= GGUFFile.stringLimit, let text = String(validating: file.bytes, as: UTF8.self) else {
            throw ModelFileError(
                offset: nil, field: name, reason: "is not UTF-8, or has more than \(GGUFFile.stringLimit) bytes")
        }
        return text
    }

    private static func json(_ name: String, in path: String) throws(ModelFileError) -> JSONValue? {
        guard has(name, in: path) else { return nil }
        let file = try map(name, in: path)
        guard file.bytes.count <= jsonLimit else {
            throw ModelFileError(offset: nil, field: name, reason: "has more than \(jsonLimit) bytes")
        }
        return try JSONValue(Array(file.bytes), name: name)
    }

    private static func has(_ name: String, in path: String) -> Bool {
        FileManager.default.fileExists(atPath: path + "/" + name)
    }

    private static func map(_ name: String, in path: String) throws(ModelFileError) -> MappedFile {
        do {
            return try MappedFile(path: path + "/" + name)
        } catch {
            throw ModelFileError(offset: nil, field: name, reason: error.reason)
        }
    }
}

extension ModelFolder: TensorSource {
    public func ownName(of name: String) -> String { TensorNames.own(name) ?? name }

    public func withBytes<R, Failure: Error>(
        of tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R {
        let shard = shard(of: tensor)
        return try body(UnsafeRawBufferPointer(rebasing: shard.file.bytes[range(of: tensor)]))
    }

    public func releasePages(of tensor: Tensor) { shard(of: tensor).file.releasePages(range(of: tensor)) }

    /// Over config.json, tokenizer.json, tokenizer_config.json, generation_config.json and every file of weights, each with its name. Where the tensors lie among the files is
    /// part of it: a model that was cut into other shards counts as another.
    public var contentHash: String {
        hash.withLock { cached in
            if let cached { return cached }
            let lines = digests + shards.map { "\($0.name) \(XXH64.digest(of: $0.file))" }
            let digest = Array(lines.sorted().joined(separator: "\n").utf8).withUnsafeBytes { XXH64.digest(of: $0) }
            let digits = String(digest, radix: 16)
            let text = String(repeating: "0", count: 16 - digits.count) + digits
            cached = text
            return text
        }
    }

    private func shard(of tensor: Tensor) -> SafeTensorsFile {
        // Tensors are made by a ModelFolder only; what can go wrong is a caller's mixing of two.
        guard let place = places[tensor.name], shards[place].tensors.contains(tensor) else {
            preconditionFailure("the tensor belongs to another folder")
        }
        return shards[place]
    }

    private func range(of tensor: Tensor) -> Range<Int> {
        Int(tensor.offset)..<Int(tensor.offset) + tensor.byteCount
    }
}
