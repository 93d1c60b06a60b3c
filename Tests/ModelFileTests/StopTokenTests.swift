import Foundation
import Testing

@testable import ModelFile

@Suite("Tokens that end turns")
struct StopTokenTests {
    private func shown(_ tokenizer: Tokenizer, _ token: Int32) -> String {
        var text = TextAssembler(tokenizer: tokenizer)
        return text.append(token) + text.finish()
    }

    @Test(
        "one that the file names never shows and cannot be typed, whatever kind the file gives it",
        arguments: ["eos", "eot", "eom"], [1, 4] as [Int32])
    func named(key: String, kind: Int32) throws {
        let tokenizer = try SmallVocabulary.tokenizer(
            extra: [("<|END|>", kind)], metadata: [("tokenizer.ggml.\(key)_token_id", .uint32(3))])
        #expect(tokenizer.stopTokens.contains(3))
        #expect(shown(tokenizer, 3) == "")
        let typed = tokenizer.encode("a<|END|>", parseSpecial: false)
        #expect(!typed.contains(3) && tokenizer.decode(typed) == "a<|END|>")
        #expect(tokenizer.encode("a<|END|>", parseSpecial: true).last == 3)
    }

    @Test("what merges make is text, whatever it is called")
    func merged() throws {
        let merges = [("<", "/"), ("s", ">"), ("</", "s>")]
        let tokenizer = try SmallVocabulary.tokenizer(pre: "superbpe", merges: merges)
        let element = tokenizer.encode("</s>", parseSpecial: false)
        #expect(element.count == 1 && !tokenizer.stopTokens.contains(element[0]))
        #expect(shown(tokenizer, element[0]) == "</s>")
        // A file that ends its turns with it is believed, and its text still comes back.
        let ending = try SmallVocabulary.tokenizer(
            pre: "superbpe", merges: merges, metadata: [("tokenizer.ggml.eos_token_id", .uint32(UInt32(element[0])))])
        #expect(ending.stopTokens.contains(element[0]))
        #expect(ending.encode("</s>", parseSpecial: false) == element)
    }

    @Test("plain text that ends turns stays text")
    func lineFeed() throws {
        let plain = try SmallVocabulary.tokenizer()
        let lineFeed = try #require(plain.encode("\n", parseSpecial: false).first)
        let tokenizer = try SmallVocabulary.tokenizer(
            metadata: [("tokenizer.ggml.eos_token_id", .uint32(UInt32(lineFeed)))])
        #expect(tokenizer.stopTokens.contains(lineFeed))
        #expect(tokenizer.encode("a\nb", parseSpecial: false) == plain.encode("a\nb", parseSpecial: false))
    }

    @Test("of a folder: an added token that is not special, named by generation_config.json or as eos_token")
    func folder() throws {
        var root = try #require(
            JSONSerialization.jsonObject(with: SmallForms.data("byte-level.tokenizer.json")) as? [String: Any])
        var added = try #require(root["added_tokens"] as? [[String: Any]])
        let id = 1 + (added.compactMap { $0["id"] as? Int }.max() ?? 0)
        added.append(["id": id, "content": "<|EOT|>", "special": false])
        root["added_tokens"] = added
        let data = try JSONSerialization.data(withJSONObject: root)
        let plain = try Tokenizer(tokenizerJSON: data)
        #expect(plain.encode("<|EOT|>", parseSpecial: false) == [Int32(id)])
        for tokenizer in [
            try Tokenizer(tokenizerJSON: data, stopTokens: [Int32(id)]),
            try Tokenizer(tokenizerJSON: data, tokenizerConfig: Data(#"{"eos_token": "<|EOT|>"}"#.utf8)),
        ] {
            #expect(tokenizer.stopTokens.contains(Int32(id)))
            #expect(shown(tokenizer, Int32(id)) == "")
            #expect(!tokenizer.encode("<|EOT|>", parseSpecial: false).contains(Int32(id)))
        }
    }

    @Test("names that llama.cpp knows end turns", arguments: EndNames.all)
    func names(name: String) throws {
        guard !SmallVocabulary.controls.contains(name) else { return }
        for kind in [1, 3, 4] as [Int32] {
            let tokenizer = try SmallVocabulary.tokenizer(extra: [(name, kind)])
            guard kind != 1 || EndNames.isMarkup(name.utf8) else { continue }
            #expect(tokenizer.stopTokens == [0, 2, 3], "\(kind)")
            #expect(shown(tokenizer, 3) == "", "\(kind)")
        }
    }

    @Test("the end of a message is no end where there are ends of turns; </s> is text beside tool calls")
    func exceptions() throws {
        let harmony = try SmallVocabulary.tokenizer(extra: [("<|end|>", 3), ("<|return|>", 3), ("<|call|>", 3)])
        #expect(harmony.stopTokens == [0, 2, 4, 5])
        let gemma = try SmallVocabulary.tokenizer(extra: [("</s>", 3), ("<|tool_response>", 3)])
        #expect(gemma.stopTokens == [0, 2, 4])
        #expect(try SmallVocabulary.tokenizer(extra: [("<|end|>", 3), ("<|call|>", 3)]).stopTokens == [0, 2, 3, 4])
    }

    @Test("a special token that is none is passed over, and said")
    func outOfRange() throws {
        for value in [.uint32(1_000_000), .int32(-1)] as [GGUFWriter.Value] {
            let tokenizer = try SmallVocabulary.tokenizer(metadata: [("tokenizer.ggml.eot_token_id", value)])
            #expect(tokenizer.stopTokens == [0, 2])
            #expect(tokenizer.notes.count == 1 && tokenizer.notes[0].contains("eot_token_id"))
        }
        #expect(try SmallVocabulary.tokenizer().notes.isEmpty)
    }

    @Test("without the name of a pre-tokenizer the default one splits, and that is said")
    func withoutPre() throws {
        var writer = SmallVocabulary.writer()
        writer.metadata.removeAll { $0.key == "tokenizer.ggml.pre" }
        let tokenizer = try Tokenizer(file: GGUFFile(contents: writer.contents()))
        #expect(tokenizer.notes.contains { $0.contains("tokenizer.ggml.pre") })
        let named = try SmallVocabulary.tokenizer(pre: "default")
        #expect(tokenizer.encode("a 12345!", parseSpecial: false) == named.encode("a 12345!", parseSpecial: false))
    }
}
