extension PairTable {
    /// Merges of the largest vocabularies in use are about 500,000.
    static var mergeLimit: Int { 1 << 22 }

    /// Reads `tokenizer.ggml.merges`: (left token, right token) to (rank, merged token).
    static func merges(_ file: GGUFFile, _ vocabulary: Vocabulary) throws(ModelFileError) -> PairTable {
        let key = "tokenizer.ggml.merges"
        let count = try file.arrayCount(key)
        guard count <= mergeLimit else {
            throw ModelFileError(
                offset: nil, field: "metadata '\(key)'", reason: "\(count) merges are more than \(mergeLimit)")
        }
        var table = PairTable(capacity: count)
        let alphabet = ByteAlphabet()
        var buffer: [UInt8] = []
        try file.forEachString(key) { (rank, text) throws(ModelFileError) in
            func refusal(_ reason: String) -> ModelFileError {
                ModelFileError(offset: nil, field: "metadata '\(key)'[\(rank)]", reason: reason)
            }
            // The alphabet has no space, so that the only space is the one between the two.
            guard let space = text.firstIndex(of: 0x20) else { throw refusal("has no space between two tokens") }
            buffer.removeAll(keepingCapacity: true)
            guard alphabet.decode(UnsafeRawBufferPointer(rebasing: text[..<space]), into: &buffer) else {
                throw refusal("its left side is not written in the byte alphabet")
            }
            let middle = buffer.count
            guard alphabet.decode(UnsafeRawBufferPointer(rebasing: text[(space + 1)...]), into: &buffer) else {
                throw refusal("its right side is not written in the byte alphabet")
            }
            let (left, right, merged) = buffer.withUnsafeBytes { bytes in
                (
                    vocabulary.find(UnsafeRawBufferPointer(rebasing: bytes[..<middle])),
                    vocabulary.find(UnsafeRawBufferPointer(rebasing: bytes[middle...])), vocabulary.find(bytes)
                )
            }
            guard let left, let right, let merged else {
                throw refusal("a side of it or its result is not among the tokens")
            }
            table.insert(left, right, Value(first: Int32(rank), second: merged))
        }
        return table
    }
}
