/// model.safetensors.index.json: which file holds which tensor.
struct ShardIndex {
    /// By the tensor's name.
    private let fileOf: [String: String]
    /// Each once, in ascending order.
    let files: [String]

    init(_ index: JSONValue) throws(ModelFileError) {
        let map = try index.required("weight_map")
        var fileOf: [String: String] = [:]
        try map.forEachMember { (bytes, value) throws(ModelFileError) in
            let file = try value.string()
            // Files beside the index only.
            guard !file.isEmpty, file.utf8.count <= 255, !file.hasPrefix("."), !file.utf8.contains(UInt8(ascii: "/")),
                file.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
            else { throw value.refusal("is no plain file name") }
            guard fileOf.count < SafeTensorsFile.tensorLimit else { throw value.refusal("there are too many tensors") }
            fileOf[String(decoding: bytes, as: UTF8.self)] = file
        }
        self.fileOf = fileOf
        files = Set(fileOf.values).sorted()
        guard (1...ModelFolder.shardLimit).contains(files.count) else {
            throw map.refusal("names \(files.count) files, which is not in 1...\(ModelFolder.shardLimit)")
        }
    }

    var names: some Sequence<String> { fileOf.keys }

    func check(_ tensor: String, in file: String) throws(ModelFileError) {
        guard fileOf[tensor] == file else {
            throw ModelFileError(
                offset: nil, field: "\(file) tensor '\(tensor)'",
                reason: "is not in this file by model.safetensors.index.json")
        }
    }
}
