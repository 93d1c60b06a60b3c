/// The tokens of a model: the bytes each one stands for, its kind, and the way back from bytes to the token.
///
/// All bytes lie in one arena, and the index holds ids only: 49,152 tokens take about 1 MB. Keys are compared as bytes,
/// since equality of Swift Strings is canonical equivalence and would take different tokens for one.
struct Vocabulary {
    /// `tokenizer.ggml.token_type` of llama.cpp.
    enum Kind: UInt8 {
        case undefined = 0, normal, unknown, control, userDefined, unused, byte
    }

    /// How a model writes the bytes of its tokens as text.
    enum Spelling {
        /// GPT-2's: one character for each byte.
        case byteAlphabet
        /// SentencePiece's: U+2581 is a space, `<0x0A>` a byte.
        case piece
    }

    static let tokenLimit = 1 << 21
    static let arenaLimit = 64 << 20

    var count: Int { kinds.count }
    /// Bytes of the longest token that `find` can give.
    private(set) var longest = 0
    private var kinds: [Kind] = []
    private var arena: [UInt8] = []
    /// Token i has the bytes `starts[i]..<starts[i + 1]` of the arena.
    private var starts: [UInt32] = [0]
    /// Open-addressed by the hash of the bytes; -1 is vacant.
    private var slots: [Int32]

    /// An empty vocabulary with room for `capacity` tokens to be found.
    init(capacity: Int) {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        starts.reserveCapacity(capacity + 1)
        kinds.reserveCapacity(capacity)
    }

    /// Adds the next token as it is written in the file. False when the tokens take too many bytes.
    ///
    /// - Parameter endsTurns: the file says that the token ends a turn. Then it is a control token, whatever kind the file gives
    ///   it: else its name would stand at the end of every answer, and a user who spells it would end a turn. Text stays text:
    ///   a model whose turns end with a line feed can still be told of lines.
    mutating func append(
        _ text: some Collection<UInt8>, _ kind: Kind, _ spelling: Spelling, endsTurns: Bool = false
    ) -> Bool {
        let start = arena.count
        guard text.count <= Self.arenaLimit - start else { return false }
        let isControl =
            switch kind {
            case .userDefined: endsTurns || Self.isTurnMarker(text) || EndNames.contains(text)
            case .normal, .unused, .undefined: endsTurns && EndNames.isMarkup(text)
            default: false
            }
        let kind = isControl ? .control : kind
        let isFound: Bool
        switch kind {
        case .control, .unknown:
            // Never the outcome of merging, whatever the merges say: text must not become a control token.
            arena.append(contentsOf: text)
            isFound = false
        case .userDefined:
            // Literal text, which merging can reach only where it reads the same in the alphabet.
            arena.append(contentsOf: text)
            isFound = text.allSatisfy { (0x21...0x7E).contains($0) }
        case .byte where spelling == .piece:
            arena.append(contentsOf: Self.byte(text).map { [$0] } ?? Array(text))
            isFound = false
        default:
            switch spelling {
            case .byteAlphabet:
                isFound = ByteAlphabet.shared.decode(text, into: &arena)
                if !isFound { arena.append(contentsOf: text) }
            case .piece:
                Spaces.appendUnescaped(text, to: &arena)
                // Text has no spaces left when pieces are looked for: a piece with one is never found.
                isFound = !text.contains(0x20)
            }
        }
        starts.append(UInt32(arena.count))
        kinds.append(kind)
        if isFound, start < arena.count {
            insert(Int32(count - 1))
            longest = max(longest, arena.count - start)
        }
        return true
    }

    func kind(_ id: Int32) -> Kind { kinds[Int(id)] }

    func bytes(_ id: Int32) -> ArraySlice<UInt8> {
        arena[Int(starts[Int(id)])..<Int(starts[Int(id) + 1])]
    }

    /// The token that merging can make of these bytes.
    func find(_ key: UnsafeRawBufferPointer) -> Int32? {
        guard key.count <= longest else { return nil }
        var index = home(key)
        while slots[index] >= 0 {
            if isEqual(slots[index], key) { return slots[index] }
            index = (index + 1) & (slots.count - 1)
        }
        return nil
    }

    func find(_ key: ArraySlice<UInt8>) -> Int32? {
        key.withUnsafeBytes { find($0) }
    }

    /// The control tokens that have one of these names.
    func controls(_ names: [String]) -> [Int32] {
        (0..<Int32(count)).filter { id in
            kind(id) == .control && names.contains { $0.utf8.elementsEqual(bytes(id)) }
        }
    }

    /// The control tokens whose names say that they end a turn.
    var namedEnds: Set<Int32> {
        let ids = controls(EndNames.all)
        let names = Set(ids.map { String(decoding: bytes($0), as: UTF8.self) })
        let exceptions = EndNames.exceptions(among: names)
        return Set(ids.filter { !exceptions.contains(String(decoding: bytes($0), as: UTF8.self)) })
    }

    func contains(_ kind: Kind) -> Bool { kinds.contains(kind) }

    /// Tokens that are matched as a whole in text instead of by merging.
    var specials: [Int32] {
        (0..<Int32(count)).filter { id in
            switch kind(id) {
            case .control, .unknown, .userDefined: !bytes(id).isEmpty
            default: false
            }
        }
    }

    /// The token of each byte: the token of those bytes alone, or in the spelling of pieces the one that is named after
    /// it. -1 for none.
    func byteTokens(_ spelling: Spelling) -> [Int32] {
        var tokens = [Int32](repeating: -1, count: 256)
        switch spelling {
        case .byteAlphabet:
            for byte in 0...255 { tokens[byte] = find([UInt8(byte)][...]) ?? -1 }
        case .piece:
            for id in 0..<Int32(count) where kind(id) == .byte && bytes(id).count == 1 {
                if let byte = bytes(id).first { tokens[Int(byte)] = id }
            }
        }
        return tokens
    }

    private mutating func insert(_ id: Int32) {
        let range = Int(starts[Int(id)])..<Int(starts[Int(id) + 1])
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

    /// The byte that `<0x0A>` names.
    static func byte(_ text: some Collection<UInt8>) -> UInt8? {
        let text = Array(text)
        guard text.count == 6, text.starts(with: Array("<0x".utf8)), text[5] == UInt8(ascii: ">") else { return nil }
        return UInt8(String(decoding: text[3..<5], as: UTF8.self), radix: 16)
    }

    /// Names that structure a chat are control tokens even where a file calls them user-defined (such files are about):
    /// user-defined tokens are found in every text, so a user could end a turn by spelling the name.
    private static func isTurnMarker(_ text: some Collection<UInt8>) -> Bool {
        guard text.first == UInt8(ascii: "<") || text.first == UInt8(ascii: "["), text.count <= 32 else { return false }
        return turnMarkers.contains { $0.utf8.elementsEqual(text) }
    }

    static let turnMarkers: [String] = [
        "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
        "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end|>", "<s>", "</s>",
        "<|system|>", "<|user|>", "<|assistant|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
        "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
    ]
}
