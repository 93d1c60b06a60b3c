import Foundation
import Synchronization

/// A GGUF model that was cut into several files (`NAME-00001-of-00003.gguf` and so on, by llama.cpp's gguf-split): the first has
/// the metadata, each has some of the tensors.
public final class GGUFShards: Sendable {
    static let limit = 1024

    public let first: GGUFFile
    public let tensors: [String: Tensor]
    private let files: [GGUFFile]
    /// The file that holds a tensor, by the tensor's name.
    private let places: [String: Int]
    private let hash = Mutex<String?>(nil)

    /// Whether the file is one of several.
    static func isShard(_ file: GGUFFile) throws(ModelFileError) -> Bool {
        // Files that were put together again say 0.
        try file.int("split.count", in: 0...Int.max, default: 0) > 1
    }

    /// Opens the files beside the first one, and checks that they are its own.
    ///
    /// - Parameter path: the first one's, which leads to the others' by its name.
    init(first: GGUFFile, path: String) throws(ModelFileError) {
        let count = try first.int("split.count", in: 2...Self.limit)
        let number = try first.int("split.no", in: 0...count - 1)
        let suffix = Self.suffix(0, of: count)
        guard number == 0, path.hasSuffix(suffix) else {
            throw ModelFileError(
                offset: nil, field: "metadata 'split.no'",
                reason:
                    "this is file \(number + 1) of \(count) of a model: name the first one, whose name ends in '\(suffix)'"
            )
        }
        let stem = path.dropLast(suffix.count)
        var files = [first]
        for index in 1..<count {
            let name = stem + Self.suffix(index, of: count)
            func refusal(_ field: String, _ reason: String) -> ModelFileError {
                ModelFileError(
                    offset: nil, field: "\(URL(filePath: String(name)).lastPathComponent) \(field)", reason: reason)
            }
            let file: GGUFFile
            do {
                file = try GGUFFile(path: String(name))
            } catch {
                throw refusal(error.field, "\(error.reason) (file \(index + 1) of \(count) of the model)")
            }
            let said = (
                try file.int("split.no", in: 0...Self.limit), try file.int("split.count", in: 0...Self.limit)
            )
            guard said == (index, count) else {
                throw refusal(
                    "metadata 'split.no'", "it is file \(said.0 + 1) of \(said.1), not \(index + 1) of \(count)")
            }
            files.append(file)
        }
        var tensors: [String: Tensor] = [:], places: [String: Int] = [:]
        for (place, file) in files.enumerated() {
            for tensor in file.tensorList {
                guard places.updateValue(place, forKey: tensor.name) == nil else {
                    throw ModelFileError(
                        offset: nil, field: "tensor '\(tensor.name)'", reason: "is in two files of the model")
                }
                tensors[tensor.name] = tensor
            }
        }
        let total = try first.int("split.tensors.count", in: 0...Int.max, default: tensors.count)
        guard total == tensors.count else {
            throw ModelFileError(
                offset: nil, field: "metadata 'split.tensors.count'",
                reason: "the \(count) files have \(tensors.count) tensors, not \(total)")
        }
        self.first = first
        self.files = files
        self.tensors = tensors
        self.places = places
    }

    private static func suffix(_ index: Int, of count: Int) -> String {
        func digits(_ number: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, 5 - text.count)) + text
        }
        return "-\(digits(index + 1))-of-\(digits(count)).gguf"
    }

    private func file(of tensor: Tensor) -> GGUFFile {
        // Tensors are made by the files only; what can go wrong is a caller's mixing of two models.
        guard let place = places[tensor.name] else { preconditionFailure("the tensor belongs to another model") }
        return files[place]
    }
}

extension GGUFShards: TensorSource {
    public func ownName(of name: String) -> String { name }

    public func withBytes<R, Failure: Error>(
        of tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R {
        try file(of: tensor).withBytes(of: tensor, body)
    }

    public func releasePages(of tensor: Tensor) { file(of: tensor).releasePages(of: tensor) }

    /// Over all files, in their order. A model that was cut into other files counts as another.
    public var contentHash: String {
        hash.withLock { cached in
            if let cached { return cached }
            let lines = files.map(\.contentHash).joined(separator: "\n")
            let digest = Array(lines.utf8).withUnsafeBytes { XXH64.digest(of: $0) }
            let digits = String(digest, radix: 16)
            let text = String(repeating: "0", count: 16 - digits.count) + digits
            cached = text
            return text
        }
    }
}
