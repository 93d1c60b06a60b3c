/// Finds tokens that are matched as a whole (control and user-defined ones), the longest at each place.
struct SpecialTokenTrie {
    /// Longer special tokens are refused, which bounds the work at each place in a text.
    static let lengthLimit = 512
    /// Bytes of all special tokens together; the trie takes some 70 times as much at worst.
    static let totalLimit = 1 << 20

    /// (node, byte) to the next node.
    private var edges: PairTable
    /// The token that ends at a node, -1 for none.
    private var tokens: [Int32] = [-1]
    private var firstBytes = [Bool](repeating: false, count: 256)

    init(_ vocabulary: Vocabulary) throws(ModelFileError) {
        let ids = (0..<Int32(vocabulary.count)).filter { vocabulary.isSpecial($0) && !vocabulary.bytes($0).isEmpty }
        let total = ids.reduce(0) { $0 + vocabulary.bytes($1).count }
        guard total <= Self.totalLimit else {
            throw ModelFileError(
                offset: nil, field: "metadata 'tokenizer.ggml.tokens'",
                reason: "the special tokens take \(total) bytes, more than \(Self.totalLimit)")
        }
        edges = PairTable(capacity: total)
        for id in ids {
            let name = vocabulary.bytes(id)
            guard name.count <= Self.lengthLimit else {
                throw ModelFileError(
                    offset: nil, field: "metadata 'tokenizer.ggml.tokens'[\(id)]",
                    reason: "a special token of \(name.count) bytes is longer than \(Self.lengthLimit)")
            }
            var node: Int32 = 0
            for (index, byte) in name.enumerated() {
                if index == 0 { firstBytes[Int(byte)] = true }
                if let edge = edges.find(node, Int32(byte)) {
                    node = edge.first
                } else {
                    let next = Int32(tokens.count)
                    edges.insert(node, Int32(byte), PairTable.Value(first: next, second: 0))
                    tokens.append(-1)
                    node = next
                }
            }
            tokens[Int(node)] = id
        }
    }

    var isEmpty: Bool { tokens.count == 1 }

    /// The longest token of those that `isWanted` at `start`, and where it ends.
    func match(
        _ text: UnsafeRawBufferPointer, at start: Int, where isWanted: (Int32) -> Bool
    ) -> (token: Int32, end: Int)? {
        guard firstBytes[Int(text[start])] else { return nil }
        var best: (token: Int32, end: Int)?
        var node: Int32 = 0
        var index = start
        while index < text.count, let edge = edges.find(node, Int32(text[index])) {
            node = edge.first
            index += 1
            let token = tokens[Int(node)]
            if token >= 0, isWanted(token) { best = (token, index) }
        }
        return best
    }
}
