import SeededRandom
import Testing

@testable import ModelFile

@Suite("Byte-level BPE")
struct TokenizerTests {
    @Test("the pair of lowest rank merges first, the leftmost of equals")
    func mergeOrder() throws {
        let tokenizer = try SmallVocabulary.tokenizer(merges: [("b", "c"), ("a", "b"), ("bc", "d"), ("a", "a")])
        #expect(tokenizer.pieces("abcd") == ["a", "bcd"])
        #expect(tokenizer.pieces("abab") == ["ab", "ab"])
        #expect(tokenizer.pieces("aaaaa") == ["aa", "aa", "a"])
    }

    @Test("the heap gives what merging step by step gives", arguments: 0..<12 as Range<UInt64>)
    func againstPlainMerging(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let merges = Self.randomMerges(&random)
        let tokenizer = try SmallVocabulary.tokenizer(merges: merges)
        for _ in 0..<100 {
            let length = Int.random(in: 1...40, using: &random)
            let text = (0..<length).map { _ in ["a", "b", "c"].randomElement(using: &random) ?? "" }.joined()
            var symbols = text.map(String.init)
            while let best = merges.first(where: { merge in
                zip(symbols, symbols.dropFirst()).contains { $0 == merge.0 && $1 == merge.1 }
            }) {
                for index in 0..<symbols.count - 1 where symbols[index] == best.0 && symbols[index + 1] == best.1 {
                    symbols.replaceSubrange(index...index + 1, with: [best.0 + best.1])
                    break
                }
            }
            #expect(tokenizer.pieces(text) == symbols, "\(text)")
        }
    }

    /// Merges in an order in which no training would put them: pairs whose sides are made later come first.
    static func randomMerges(_ random: inout SeededGenerator) -> [(String, String)] {
        var symbols = ["a", "b", "c"]
        var merges: [(String, String)] = []
        while merges.count < 40 {
            let left = symbols.randomElement(using: &random) ?? "a"
            let right = symbols.randomElement(using: &random) ?? "a"
            guard left.count + right.count <= 6, !merges.contains(where: { $0 == left && $1 == right }) else {
                continue
            }
            merges.append((left, right))
            if !symbols.contains(left + right) { symbols.append(left + right) }
        }
        return merges.shuffled(using: &random)
    }

    @Test("every text comes back, also one that no merge fits", arguments: ["gpt-2", "smollm", "llama-bpe"])
    func roundTrip(pre: String) throws {
        let tokenizer = try SmallVocabulary.tokenizer(pre: pre, merges: [(" ", "a"), ("l", "l")])
        var random = SeededGenerator(seed: 3)
        for _ in 0..<500 {
            let text = random.text(length: Int.random(in: 0..<40, using: &random))
            let ids = tokenizer.encode(text, parseSpecial: false)
            #expect(tokenizer.decode(ids).utf8.elementsEqual(text.utf8))
            #expect(ids.allSatisfy { $0 >= 3 }, "no control token from plain text")
        }
    }

    // Quadratic time would take hours for this length; the limit is no measure of speed.
    @Test("a quarter of a megabyte of one letter takes no quadratic time", .timeLimit(.minutes(1)))
    func oneLetter() throws {
        let tokenizer = try SmallVocabulary.tokenizer(merges: [("a", "a"), ("aa", "aa"), ("aaaa", "aaaa")])
        let count = 1 << 18
        let ids = tokenizer.encode(String(repeating: "a", count: count), parseSpecial: true)
        #expect(ids.count == count / 8)
        #expect(tokenizer.encode(String(repeating: " ", count: count), parseSpecial: true).count == count)
    }

    @Test("the name of a control token is plain text unless it is asked for")
    func controlTokens() throws {
        let tokenizer = try SmallVocabulary.tokenizer()
        let text = "a<|im_end|>b"
        #expect(tokenizer.encode(text, parseSpecial: false).count == text.utf8.count)
        #expect(!tokenizer.encode(text, parseSpecial: false).contains(2))
        #expect(tokenizer.pieces(text, parseSpecial: true) == ["a", "<|im_end|>", "b"])
        #expect(tokenizer.decode([2]).isEmpty)
        #expect(tokenizer.bytes(of: 2).isEmpty)
        #expect(tokenizer.decode([2], includingSpecial: true) == "<|im_end|>")
    }

    @Test("merges cannot make a control token, whatever the file says")
    func mergesMakeNoControlToken() {
        #expect(throws: ModelFileError.self) {
            try SmallVocabulary.tokenizer(merges: [("<", "s")], extra: [(text: "<s", type: 3)])
        }
    }

    @Test("user-defined tokens are found in plain text, the longest first; turn markers among them are not")
    func userDefinedTokens() throws {
        let tokenizer = try SmallVocabulary.tokenizer(
            extra: [("<x>", 4), ("<x><y>", 4), ("<|eot_id|>", 4), ("é!", 4)])
        #expect(tokenizer.pieces("a<x><y><x>é!") == ["a", "<x><y>", "<x>", "é!"])
        #expect(tokenizer.decode(tokenizer.encode("é!<x>", parseSpecial: false)) == "é!<x>")
        let marker = try #require(tokenizer.controlToken(named: "<|eot_id|>"))
        #expect(!tokenizer.encode("<|eot_id|>", parseSpecial: false).contains(marker))
        #expect(tokenizer.stopTokens == [0, 2, marker])
    }

    @Test("canonically equal texts keep their own tokens")
    func canonicalEquivalence() throws {
        let tokenizer = try SmallVocabulary.tokenizer(extra: [("\u{E9}x", 4), ("e\u{301}x", 4)])
        let composed = tokenizer.encode("\u{E9}x", parseSpecial: false)
        let decomposed = tokenizer.encode("e\u{301}x", parseSpecial: false)
        #expect(composed.count == 1)
        #expect(decomposed.count == 1)
        #expect(composed != decomposed)
    }

    @Test("begin and end tokens are added where the file asks for them")
    func addSpecial() throws {
        let both = try SmallVocabulary.tokenizer(metadata: [
            ("tokenizer.ggml.add_bos_token", .bool(1)), ("tokenizer.ggml.add_eos_token", .bool(1)),
        ])
        #expect(both.encode("", parseSpecial: false, addSpecial: true) == [1, 2])
        #expect(both.encode("", parseSpecial: false) == [])
        #expect(try SmallVocabulary.tokenizer().encode("", parseSpecial: false, addSpecial: true) == [])
        #expect(try SmallVocabulary.tokenizer(pre: "llama-bpe").addBOS)
    }

    @Test("Llama 3 takes a word that is a token before any merge")
    func wholeWords() throws {
        let extra: [(text: String, type: Int32)] = [("abc", 1)]
        #expect(
            try SmallVocabulary.tokenizer(pre: "llama-bpe", merges: [("a", "b")], extra: extra).pieces("abc") == ["abc"]
        )
        #expect(
            try SmallVocabulary.tokenizer(pre: "gpt-2", merges: [("a", "b")], extra: extra).pieces("abc") == [
                "ab", "c",
            ])
    }

    @Test("an id outside the vocabulary has no bytes")
    func unknownIds() throws {
        let tokenizer = try SmallVocabulary.tokenizer()
        #expect(tokenizer.bytes(of: -1).isEmpty)
        #expect(tokenizer.bytes(of: .max).isEmpty)
        #expect(tokenizer.bytes(of: .min).isEmpty)
        #expect(tokenizer.decode([Int32(tokenizer.vocabularySize)]).isEmpty)
    }

    @Test(
        "what is not supported or does not fit together is refused by name",
        arguments: [
            ("tokenizer.ggml.model", .string("bert"), "'bert'"),
            ("tokenizer.ggml.pre", .string("chameleon"), "chameleon"),
            ("tokenizer.ggml.merges", .strings(["a"]), "merges'[0]"),
            ("tokenizer.ggml.merges", .strings(["a b"]), "merges'[0]"),
            ("tokenizer.ggml.merges", .strings(["日 b"]), "merges'[0]"),
            ("tokenizer.ggml.merges", .uint32(1), "merges"),
            ("tokenizer.ggml.token_type", .int32s([1]), "token_type"),
            ("tokenizer.ggml.token_type", .int32s([Int32](repeating: 9, count: 259)), "token_type'[0]"),
            ("tokenizer.ggml.tokens", .strings([]), "tokens"),
            ("tokenizer.ggml.add_bos_token", .uint32(1), "add_bos_token"),
        ] as [(String, GGUFWriter.Value, String)])
    func refusals(key: String, value: GGUFWriter.Value, named: String) throws {
        let error = #expect(throws: ModelFileError.self) {
            try SmallVocabulary.tokenizer(metadata: [(key, value)])
        }
        #expect(try #require(error).description.contains(named), "\(error?.description ?? "")")
    }

    @Test(
        "special tokens that would make matching slow or large are refused",
        arguments: [(513, 1, "tokens'[3]"), (500, 2200, "the special tokens take")])
    func specialTokenBounds(length: Int, count: Int, named: String) throws {
        let extra = (0..<count).map { index in
            (text: "\(index)" + String(repeating: "x", count: length - "\(index)".count), type: Int32(4))
        }
        let error = #expect(throws: ModelFileError.self) { try SmallVocabulary.tokenizer(extra: extra) }
        #expect(try #require(error).description.contains(named), "\(error?.description ?? "")")
    }
}
