import Foundation
import ModelFile

/// Weights made from a tensor's name and shape, exact in BF16, F16 and F32: Tests/Reference/made_weights.py makes the same.
enum MadeWeights {
    static func values(_ name: String, _ shape: [Int]) -> [Float] {
        let seed = name.utf8.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        var generator = RandomNumbers(seed: seed)
        let scale: Float = shape.count > 1 && name.contains("emb") ? 1 : 0.25
        return (0..<shape.reduce(1, *)).map { _ in
            let bits = generator.next()
            return name.contains("norm")
                ? 1 + (Float(bits >> 60) - 8) / 32 : (Float(bits >> 56) - 128) / 128 * scale
        }
    }

    static func bytes(_ name: String, _ shape: [Int], _ type: TensorType) -> [UInt8] {
        values(name, shape).flatMap { value in
            switch type {
            case .f16: littleEndian(Float16(value).bitPattern)
            case .bf16: littleEndian(UInt16(value.bitPattern >> 16))
            default: littleEndian(value.bitPattern)
            }
        }
    }
}

/// A folder in Hugging Face's form with made weights, deleted with its last user.
final class MadeFolder {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "folder-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func write(_ name: String, _ contents: some Sequence<UInt8>) throws {
        try Data(contents).write(to: url.appending(path: name))
    }

    /// Writes config.json and the weights, with an index where there are several shards.
    ///
    /// - Parameter odd: bytes by which the weights miss a multiple of eight.
    func write(config: Data, tensors: [String: [Int]], type: TensorType, shards: Int = 1, odd: Int = 0) throws {
        try write("config.json", config)
        var files: [(name: String, tensors: [String])] = []
        for (index, name) in tensors.keys.sorted().enumerated() {
            let file = shards == 1 ? "model.safetensors" : "model-\(index % shards).safetensors"
            if let at = files.firstIndex(where: { $0.name == file }) {
                files[at].tensors.append(name)
            } else {
                files.append((file, [name]))
            }
        }
        for file in files {
            try write(
                file.name,
                SafeTensorsWriter.contents(
                    file.tensors.map { ($0, tensors[$0] ?? [], type, MadeWeights.bytes($0, tensors[$0] ?? [], type)) },
                    odd: odd))
        }
        guard shards > 1 else { return }
        let map = files.flatMap { file in file.tensors.map { "\"\($0)\":\"\(file.name)\"" } }
        try write("model.safetensors.index.json", "{\"weight_map\":{\(map.joined(separator: ","))}}".utf8)
    }
}

/// The bytes of a safetensors file.
enum SafeTensorsWriter {
    /// - Parameter odd: bytes by which the data miss a multiple of eight.
    static func contents(
        _ tensors: [(name: String, shape: [Int], type: TensorType, bytes: [UInt8])], odd: Int = 0
    ) -> [UInt8] {
        var entries: [String] = [], data: [UInt8] = []
        for tensor in tensors {
            let type = "\(tensor.type)".uppercased(), shape = tensor.shape.map(String.init).joined(separator: ",")
            let end = data.count + tensor.bytes.count
            entries.append(
                "\"\(tensor.name)\":{\"dtype\":\"\(type)\",\"shape\":[\(shape)],\"data_offsets\":[\(data.count),\(end)]}"
            )
            data += tensor.bytes
        }
        let header = "{\"__metadata__\":{\"format\":\"pt\"},\(entries.joined(separator: ","))}"
        return contents(header: header, data: data, odd: odd)
    }

    static func contents(header: String, data: [UInt8], odd: Int = 0) -> [UInt8] {
        let padded = Array(header.utf8) + [UInt8](repeating: 0x20, count: (8 - header.utf8.count % 8) % 8 + odd)
        return littleEndian(UInt64(padded.count)) + padded + data
    }
}
