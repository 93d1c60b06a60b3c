/// The tokens of a file: the bytes each one stands for, its kind, and the way back from bytes to the token.
///
/// All bytes lie in one arena, and the index holds ids only: 49,152 tokens take about 1 MB. Keys are compared as bytes,
/// since equality of Swift Strings is canonical equivalence and would take different tokens for one.
struct Vocabulary {
    /// `tokenizer.ggml.token_type` of llama.cpp.
    enum Kind: UInt8 {
        case undefined = 0, normal, unknown, control, userDefined, unused, byte
    }

    static let tokenLimit = 1 << 21
    static let arenaLimit = 64 << 20

    private(set) var count = 0
    private var kinds: [Kind] = []
    private var arena: [UInt8] = []
    /// Token i has the bytes `starts[i]..<starts[i + 1]` of the arena.
    private var starts: [UInt32] = [0]
    /// Open-addressed by the hash of the bytes; -1 is vacant.
    private var slots: [Int32] = []

    /// Reads `tokenizer.ggml.tokens` and `tokenizer.ggml.token_type`.
    init(file: GGUFFile) throws(ModelFileError) {
        let key = "tokenizer.ggml.tokens"
        let total = try file.arrayCount(key)
        guard (1...Self.tokenLimit).contains(total) else {
            throw ModelFileError(
                offset: nil, field: "metadata '\(key)'", reason: "\(total) tokens are not in 1...\(Self.tokenLimit)")
        }
        kinds = try Self.kinds(file, count: total)
        starts.reserveCapacity(total + 1)
        var slotCount = 16
        while slotCount < total * 2 { slotCount *= 2 }
        slots = [Int32](repeating: -1, count: slotCount)

        let alphabet = ByteAlphabet()
        // The closure below cannot be handed a mutable self, so it fills locals.
        var arena: [UInt8] = []
        var starts: [UInt32] = [0]
        var indexed = [Bool](repeating: false, count: total)
        try file.forEachString(key) { (index, text) throws(ModelFileError) in
            if kinds[index] == .userDefined, Self.isTurnMarker(text) { kinds[index] = .control }
            switch kinds[index] {
            case .control, .unknown:
                // Never the outcome of merging, whatever the merges say: text must not become a control token.
                arena.append(contentsOf: text)
            case .userDefined:
                // Literal text, which merging can reach only where it reads the same in the alphabet.
                arena.append(contentsOf: text)
                indexed[index] = text.allSatisfy { (0x21...0x7E).contains($0) }
            default:
                indexed[index] = alphabet.decode(text, into: &arena)
                if !indexed[index] { arena.append(contentsOf: text) }
            }
            guard arena.count <= Self.arenaLimit else {
                throw ModelFileError(
                    offset: nil, field: "metadata '\(key)'[\(index)]",
                    reason: "the tokens take more than \(Self.arenaLimit) bytes")
            }
            starts.append(UInt32(arena.count))
        }
        self.arena = arena
        self.starts = starts
        count = total
        for id in 0..<total where indexed[id] { insert(Int32(id)) }
    }

    func kind(_ id: Int32) -> Kind { kinds[Int(id)] }

    func bytes(_ id: Int32) -> ArraySlice<UInt8> {
        arena[Int(starts[Int(id)])..<Int(starts[Int(id) + 1])]
    }

    /// The token that merging can make of these bytes.
    func find(_ key: UnsafeRawBufferPointer) -> Int32? {
        var index = home(key)
        while slots[index] >= 0 {
            if isEqual(slots[index], key) { return slots[index] }
            index = (index + 1) & (slots.count - 1)
        }
        return nil
    }

    /// The control tokens that have one of these names.
    func controls(_ names: [String]) -> [Int32] {
        (0..<Int32(count)).filter { id in
            kind(id) == .control && names.contains { $0.utf8.elementsEqual(bytes(id)) }
        }
    }

    func contains(_ kind: Kind) -> Bool { kinds.contains(kind) }

    /// Whether the token is matched as a whole in text instead of by merging.
    func isSpecial(_ id: Int32) -> Bool {
        switch kind(id) {
        case .control, .unknown, .userDefined: true
        default: false
        }
    }

    private mutating func insert(_ id: Int32) {
        let range = Int(starts[Int(id)])..<Int(starts[Int(id) + 1])
        guard !range.isEmpty else { return }
        let index = arena.withUnsafeBytes { arena in
            let key = UnsafeRawBufferPointer(rebasing: arena[range])
            var index = home(key)
            while slots[index] >= 0 {
                let other = slots[index]
                let otherRange = Int(starts[Int(other)])..<Int(starts[Int(other) + 1])
                // Of two equal tokens the last one counts, as in llama.cpp.
                if UnsafeRawBufferPointer(rebasing: arena[otherRange]).elementsEqual(key) { break }
                index = (index + 1) & (slots.count - 1)
            }
            return index
        }
        slots[index] = id
    }

    private func home(_ key: UnsafeRawBufferPointer) -> Int {
        // Hasher is keyed at random for each process: a file cannot be made whose tokens collide.
        var hasher = Hasher()
        hasher.combine(bytes: key)
        return hasher.finalize() & (slots.count - 1)
    }

    private func isEqual(_ id: Int32, _ key: UnsafeRawBufferPointer) -> Bool {
        let start = Int(starts[Int(id)])
        let length = Int(starts[Int(id) + 1]) - start
        guard length == key.count else { return false }
        for offset in 0..<length where arena[start + offset] != key[offset] { return false }
        return true
    }

    private static func kinds(_ file: GGUFFile, count: Int) throws(ModelFileError) -> [Kind] {
        let key = "tokenizer.ggml.token_type"
        guard file.metadata[key] != nil else { return [Kind](repeating: .normal, count: count) }
        let values = try file.integers(key)
        guard values.count == count else {
            throw ModelFileError(
                offset: nil, field: "metadata '\(key)'", reason: "has \(values.count) elements for \(count) tokens")
        }
        var kinds: [Kind] = []
        kinds.reserveCapacity(count)
        for (index, value) in values.enumerated() {
            guard let raw = UInt8(exactly: value), let kind = Kind(rawValue: raw) else {
                throw ModelFileError(
                    offset: nil, field: "metadata '\(key)'[\(index)]", reason: "\(value) is no token type")
            }
            kinds.append(kind)
        }
        return kinds
    }

    /// Names that structure a chat are control tokens even where a file calls them user-defined (such files are about):
    /// user-defined tokens are found in every text, so a user could end a turn by spelling the name.
    private static func isTurnMarker(_ text: UnsafeRawBufferPointer) -> Bool {
        guard text.first == UInt8(ascii: "<"), text.count <= 20 else { return false }
        return turnMarkers.contains { $0.utf8.elementsEqual(text) }
    }

    static let turnMarkers: [String] = [
        "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
        "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end|>", "<s>", "</s>",
        "<|system|>", "<|user|>", "<|assistant|>",
    ]
}
