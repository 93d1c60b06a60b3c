/// Finds the tokens that begin at a place in a text.
struct TokenTrie {
    /// Longer tokens are refused, which bounds the work at each place in a text.
    static let lengthLimit = 512

    /// (node, byte) to the next node.
    private var edges: PairTable
    /// The token that ends at a node, -1 for none.
    private var tokens: [Int32] = [-1]
    private var firstBytes = [Bool](repeating: false, count: 256)

    /// - Parameters:
    ///   - limit: Bytes of all names together; the trie takes some 70 times as much at worst.
    ///   - field: What an error names.
    init(
        _ names: [(token: Int32, bytes: ArraySlice<UInt8>)], limit: Int = 1 << 20, field: String
    ) throws(ModelFileError) {
        let total = names.reduce(0) { $0 + $1.bytes.count }
        guard total <= limit else {
            throw ModelFileError(
                offset: nil, field: field, reason: "the special tokens take \(total) bytes, more than \(limit)")
        }
        edges = PairTable(capacity: total)
        for (token, name) in names where !name.isEmpty {
            guard name.count <= Self.lengthLimit else {
                throw ModelFileError(
                    offset: nil, field: "\(field)[\(token)]",
                    reason: "a token of \(name.count) bytes is longer than \(Self.lengthLimit)")
            }
            insert(name, token)
        }
    }

    private mutating func insert(_ name: ArraySlice<UInt8>, _ token: Int32) {
        if let first = name.first { firstBytes[Int(first)] = true }
        var node: Int32 = 0
        for byte in name {
            if let edge = edges.find(node, Int32(byte)) {
                node = edge.first
            } else {
                let next = Int32(tokens.count)
                edges.insert(node, Int32(byte), PairTable.Value(first: next, second: 0))
                tokens.append(-1)
                node = next
            }
        }
        tokens[Int(node)] = token
    }

    /// Calls `body` with each token that begins at `start` and where it ends, the shortest first.
    func forEachMatch(_ text: UnsafeRawBufferPointer, at start: Int, _ body: (Int32, Int) -> Void) {
        _ = match(text, at: start) { token, end in
            body(token, end)
            return false
        }
    }

    /// The longest token of those that `isWanted` at `start`, and where it ends.
    func match(
        _ text: UnsafeRawBufferPointer, at start: Int, where isWanted: (Int32, Int) -> Bool
    ) -> (token: Int32, end: Int)? {
        guard firstBytes[Int(text[start])] else { return nil }
        var best: (token: Int32, end: Int)?
        var node: Int32 = 0
        var index = start
        while index < text.count, let edge = edges.find(node, Int32(text[index])) {
            node = edge.first
            index += 1
            let token = tokens[Int(node)]
            if token >= 0, isWanted(token, index) { best = (token, index) }
        }
        return best
    }
}
