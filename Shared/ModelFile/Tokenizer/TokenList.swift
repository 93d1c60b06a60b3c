/// The tokens of a tokenizer.json, `model.vocab` and `added_tokens` together, by id.
struct TokenList {
    private var names: [ArraySlice<UInt8>] = []
    private var kinds: [Vocabulary.Kind] = []
    private let unnamed: JSONValue
    /// Of a Unigram model, by id; 0 for added tokens.
    private(set) var scores: [Double] = []
    private(set) var strips: [Int32: SpecialTokens.Strip] = [:]
    /// Added tokens that are matched in the normalized text.
    private(set) var normalized: Set<Int32> = []

    init(_ root: JSONValue, model: JSONValue) throws(ModelFileError) {
        let vocab = try model.required("vocab")
        unnamed = vocab
        if vocab.kind == .array {
            try readScored(vocab)
        } else {
            try vocab.forEachMember { (name, id) throws(ModelFileError) in
                try set(name, .normal, id.int(in: 0...Vocabulary.tokenLimit - 1))
            }
        }
        guard let added = root["added_tokens"] else { return }
        try added.forEachElement { (token) throws(ModelFileError) in
            let id = try token.required("id").int(in: 0...Vocabulary.tokenLimit - 1)
            let isSpecial = try token["special"]?.bool() ?? false
            try set(token.required("content").stringBytes(), isSpecial ? .control : .userDefined, id)
            if let flag = token["single_word"], try flag.bool() { throw flag.refusal("is not supported") }
            var strip: SpecialTokens.Strip = []
            if try token["lstrip"]?.bool() ?? false { strip.insert(.left) }
            if try token["rstrip"]?.bool() ?? false { strip.insert(.right) }
            if !strip.isEmpty { strips[Int32(id)] = strip }
            if try token["normalized"]?.bool() ?? !isSpecial { normalized.insert(Int32(id)) }
        }
    }

    /// A Unigram model's `[[piece, score], ...]`, in the order of the ids.
    private mutating func readScored(_ vocab: JSONValue) throws(ModelFileError) {
        var id = 0
        try vocab.forEachElement { (entry) throws(ModelFileError) in
            let parts = try entry.elements()
            guard parts.count == 2, id < Vocabulary.tokenLimit else {
                throw entry.refusal("is no pair of a piece and a score, or one too many")
            }
            try set(parts[0].stringBytes(), .normal, id)
            scores[id] = try parts[1].double()
            id += 1
        }
    }

    private mutating func set(_ name: ArraySlice<UInt8>, _ kind: Vocabulary.Kind, _ id: Int) throws(ModelFileError) {
        while names.count <= id {
            names.append([])
            kinds.append(.unused)
            scores.append(0)
        }
        names[id] = name
        kinds[id] = kind
    }

    var count: Int { names.count }

    /// The vocabulary; ids that no token has stay empty.
    /// - Parameter ends: tokens that end a turn.
    func vocabulary(
        _ spelling: Vocabulary.Spelling, isByteFallback: Bool, ends: Set<Int32>
    ) throws(ModelFileError) -> Vocabulary {
        guard !names.isEmpty else { throw unnamed.refusal("has no tokens") }
        var vocabulary = Vocabulary(capacity: names.count)
        for (id, (name, kind)) in zip(names, kinds).enumerated() {
            let isByte = isByteFallback && spelling == .piece && kind == .normal && Vocabulary.byte(name) != nil
            guard
                vocabulary.append(
                    name, isByte ? .byte : kind, spelling,
                    endsTurns: kind == .userDefined && ends.contains(Int32(id)))
            else {
                throw unnamed.refusal("the tokens take more than \(Vocabulary.arenaLimit) bytes")
            }
        }
        return vocabulary
    }

    /// The token of this name.
    func id(of name: JSONValue) throws(ModelFileError) -> Int32 {
        let bytes = try name.stringBytes()
        // Few are asked for, and those stand at the ends of the list.
        guard let id = names.firstIndex(where: { $0 == bytes }) else { throw name.refusal("is not among the tokens") }
        return Int32(id)
    }

    /// `model.merges`: strings with a space between the two tokens, or lists of the two.
    func merges(
        _ model: JSONValue, _ vocabulary: Vocabulary, _ spelling: Vocabulary.Spelling
    ) throws(ModelFileError) -> MergeTable {
        let merges = try model.required("merges")
        let count = merges.count
        guard count <= MergeTable.limit else {
            throw merges.refusal("\(count) merges are more than \(MergeTable.limit)")
        }
        var table = MergeTable(capacity: count)
        try merges.forEachElement { (merge) throws(ModelFileError) in
            let left: ArraySlice<UInt8>
            let right: ArraySlice<UInt8>
            if merge.kind == .array {
                let sides = try merge.elements()
                guard sides.count == 2 else { throw merge.refusal("has \(sides.count) tokens instead of two") }
                left = try sides[0].stringBytes()
                right = try sides[1].stringBytes()
            } else {
                let text = try merge.stringBytes()
                guard let space = text.firstIndex(of: 0x20) else {
                    throw merge.refusal("has no space between two tokens")
                }
                left = text[..<space]
                right = text[(space + 1)...]
            }
            if let problem = table.append(left, right, vocabulary, spelling) { throw merge.refusal(problem) }
        }
        return table
    }
}
