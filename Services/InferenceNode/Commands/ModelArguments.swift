import ArgumentParser
import Foundation
import LlamaEngine
import ModelFile

/// Which model, and how it is run; shared by the commands that work without brokers.
struct ModelArguments: ParsableArguments {
    @Option(name: .customLong("model"), help: "The GGUF file of the model, or its Hugging Face folder.")
    var path: String

    @Option(help: "Threads of the engine; 0 takes every core.")
    var threads = 0

    @Option(help: "Kernels: auto, or one of \(KernelVariant.allCases.map(\.rawValue).joined(separator: ", ")).")
    var kernels = "auto"

    @Option(
        help:
            "What multiplies F32, F16 and BF16 matrices: \(FullPrecisionBackend.allCases.map(\.rawValue).joined(separator: ", "))."
    )
    var fullPrecision = FullPrecisionBackend.automatic.rawValue

    @Option(help: "Keys and values are stored as \(KVType.allCases.map(\.rawValue).joined(separator: ", ")).")
    var kv = KVType.f16

    func validate() throws {
        guard (0...64).contains(threads) else { throw ValidationError("--threads must be between 0 and 64") }
        _ = try KernelVariant(setting: kernels)
        _ = try backend()
    }

    private func backend() throws -> FullPrecisionBackend {
        guard let backend = FullPrecisionBackend(rawValue: fullPrecision) else {
            throw ValidationError("--full-precision cannot be \(fullPrecision)")
        }
        return backend
    }

    func load(maxRows: Int = 512, kvBlocks: Int) throws -> LoadedModel {
        try LoadedModel(
            path: path,
            options: ModelOptions(
                threads: threads == 0 ? ModelOptions.coreCount : threads, kernels: try KernelVariant(setting: kernels),
                fullPrecisionBackend: try backend(), maxRows: maxRows, kvBlocks: kvBlocks, kvType: kv))
    }
}

/// A model in memory, with its tokenizer.
struct LoadedModel {
    let model: LlamaModel
    let tokenizer: Tokenizer

    init(path: String, options: ModelOptions) throws {
        let source = try ModelSource(path: path)
        tokenizer = try Tokenizer(source: source)
        model = try LlamaModel(source: source, options: options)
    }

    /// - Throws: when a guess of the draft model would be another token here.
    func requireVocabulary(ofDraft draft: LoadedModel) throws {
        guard let difference = tokenizer.difference(from: draft.tokenizer) else { return }
        throw EngineError.unavailable("the draft model's vocabulary does not fit: \(difference)")
    }
}

extension ModelOptions {
    /// The cores that this process may run on, within what the engine takes.
    static var coreCount: Int { min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 64) }
}

extension KVType: ExpressibleByArgument {}

extension KernelVariant {
    /// - Returns: nil for `auto`.
    init?(setting: String) throws {
        guard setting != "auto" else { return nil }
        guard let variant = KernelVariant(rawValue: setting) else {
            throw ValidationError(
                "\(setting) names no kernels; auto, \(KernelVariant.allCases.map(\.rawValue).joined(separator: ", ")) do"
            )
        }
        guard KernelVariant.available.contains(variant) else {
            throw ValidationError("this CPU cannot run \(setting) kernels")
        }
        self = variant
    }
}

extension FileHandle {
    /// All of standard input, at most `limit` bytes.
    static func readInput(limit: Int = 64 << 20) throws -> Data {
        var data = Data()
        while let part = try standardInput.read(upToCount: 1 << 16), !part.isEmpty {
            data += part
            guard data.count <= limit else { throw ValidationError("the input has more than \(limit) bytes") }
        }
        return data
    }
}
