/// The merges of a BPE model in the order of their ranks: (left token, right token) to (rank, merged token).
struct MergeTable: MergeRule {
    /// Merges of the largest vocabularies in use are about 500,000.
    static let limit = 1 << 22

    private var table: PairTable
    private var buffer: [UInt8] = []
    private var rank: Int32 = 0

    /// Room for `capacity` merges.
    init(capacity: Int) {
        table = PairTable(capacity: capacity)
    }

    /// Adds the merge of the next rank, its sides as they are written in the file. Gives what is wrong with it, if
    /// something is.
    mutating func append(
        _ left: some Collection<UInt8>, _ right: some Collection<UInt8>, _ vocabulary: Vocabulary,
        _ spelling: Vocabulary.Spelling
    ) -> String? {
        buffer.removeAll(keepingCapacity: true)
        switch spelling {
        case .byteAlphabet:
            guard ByteAlphabet.shared.decode(left, into: &buffer) else {
                return "its left side is not written in the byte alphabet"
            }
        case .piece: Spaces.appendUnescaped(left, to: &buffer)
        }
        let middle = buffer.count
        switch spelling {
        case .byteAlphabet:
            guard ByteAlphabet.shared.decode(right, into: &buffer) else {
                return "its right side is not written in the byte alphabet"
            }
        case .piece: Spaces.appendUnescaped(right, to: &buffer)
        }
        guard let leftToken = vocabulary.find(buffer[..<middle]), let rightToken = vocabulary.find(buffer[middle...]),
            let merged = vocabulary.find(buffer[...])
        else { return "a side of it or its result is not among the tokens" }
        table.insert(leftToken, rightToken, PairTable.Value(first: rank, second: merged))
        rank += 1
        return nil
    }

    func merge(_ left: SymbolMerger.Symbol, _ right: SymbolMerger.Symbol) -> (priority: UInt32, token: Int32)? {
        guard left.token >= 0, right.token >= 0, let value = table.find(left.token, right.token) else { return nil }
        return (UInt32(bitPattern: value.first), value.second)
    }
}
