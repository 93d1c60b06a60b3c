import Foundation
import SeededRandom
import Testing

@testable import ModelFile

@Suite("tokenizer.json")
struct TokenizerJSONTests {
    /// A fixture's text with one place changed.
    func changed(_ name: String, _ old: String, _ new: String) throws -> Data {
        let text = try String(decoding: SmallForms.data("\(name).tokenizer.json"), as: UTF8.self)
        // Written with spaces by the library; compared without them.
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8))
        let compact = String(
            decoding: try JSONSerialization.data(
                withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes]),
            as: UTF8.self)
        let range = try #require(compact.range(of: old, options: .literal), "\(old)")
        return Data(compact.replacingCharacters(in: range, with: new).utf8)
    }

    @Test(
        "what is not supported or does not fit together is refused by name",
        arguments: [
            ("byte-level", #""type":"NFC""#, #""type":"Lowercase""#, "Lowercase"),
            ("byte-level", #"\\p{N}|"#, #"\\p{N}{4}|"#, "{4}"),
            ("byte-level", #""behavior":"Isolated""#, #""behavior":"Removed""#, "Removed"),
            ("byte-level", #""type":"BPE""#, #""type":"WordPiece""#, "WordPiece"),
            ("byte-level", #""dropout":null"#, #""dropout":0.5"#, "dropout"),
            ("byte-level", #""continuing_subword_prefix":null"#, #""continuing_subword_prefix":"x""#, "subword"),
            ("byte-level", #""single_word":false"#, #""single_word":true"#, "added_tokens[0].single_word"),
            ("byte-level", #""id":800"#, #""id":-1"#, "added_tokens[0].id"),
            ("byte-level", #""id":800"#, #""id":2147483648"#, "added_tokens[0].id"),
            ("byte-level", #""merges":[["#, #""merges":[["a"],["#, "model.merges[0]"),
            ("byte-level", #""merges":[["#, #""merges":["ab",["#, "model.merges[0]"),
            ("byte-level", #""merges":[["#, #""merges":["日 b",["#, "byte alphabet"),
            ("byte-level", #""vocab":{"#, #""vocab":{"x":"y","#, "model.vocab"),
            (
                "byte-level", #""post_processor":{"add_prefix_space":true,"trim_offsets":false,"type":"ByteLevel""#,
                #""post_processor":{"type":"BertProcessing""#, "BertProcessing"
            ),
            ("pieces", #""content":"▁""#, #""content":"_""#, "U+2581"),
            ("pieces", #""unk_token":"<unk>""#, #""unk_token":"<none>""#, "model.unk_token"),
            ("pieces", #""pre_tokenizer":null"#, #""pre_tokenizer":{"type":"Whitespace"}"#, "'Whitespace'"),
            ("pieces", #""ids":[1]"#, #""ids":[1,2]"#, "more than one token"),
            ("pieces", #""ids":[1]"#, #""ids":[904]"#, "ids[0]"),
            ("unigram", #""unk_id":0"#, #""unk_id":999999"#, "unk_id"),
            ("unigram", #"["<s>",0]"#, #"["<s>"]"#, "model.vocab[1]"),
            ("unigram", #""replacement":"▁""#, #""replacement":"_""#, "Metaspace"),
        ])
    func refusals(name: String, old: String, new: String, named: String) throws {
        let data = try changed(name, old, new)
        let error = #expect(throws: ModelFileError.self) { try Tokenizer(tokenizerJSON: data) }
        #expect(try #require(error).description.contains(named), "\(error?.description ?? "")")
    }

    @Test("tokenizer_config.json says which tokens begin and end a text")
    func config() throws {
        let data = try SmallForms.data("byte-level.tokenizer.json")
        let plain = try Tokenizer(tokenizerJSON: data)
        #expect(plain.bos == nil)
        #expect(plain.encode("", parseSpecial: false, addSpecial: true) == [])
        let config = #"{"bos_token": {"content": "<|begin|>"}, "eos_token": "<|im_end|>", "add_bos_token": true}"#
        let tokenizer = try Tokenizer(
            tokenizerJSON: data, tokenizerConfig: Data(config.utf8), stopTokens: [7, -1, 9999])
        #expect(tokenizer.bos == 800)
        #expect(tokenizer.eos == 801)
        #expect(tokenizer.stopTokens == [801, 7])
        #expect(tokenizer.encode("", parseSpecial: false, addSpecial: true) == [800])
        let error = #expect(throws: ModelFileError.self) {
            try Tokenizer(tokenizerJSON: data, tokenizerConfig: Data(#"{"bos_token": "<none>"}"#.utf8))
        }
        #expect(try #require(error).description.contains("tokenizer_config.json 'bos_token'"))
    }

    @Test("tokens that are equal as Strings and different as bytes stay two")
    func canonicalEquivalence() throws {
        let json = #"""
            {"model": {"type": "BPE", "vocab": {"Ã©": 0, "eÌģ": 1, "Ã": 2, "©": 3, "e": 4, "Ì": 5, "ģ": 6, "Ìģ": 7,
            "\u00C3\u0045": 8, "E": 9}, "merges": ["Ã ©", "Ì ģ", "e Ìģ", "\u00c3 \u0045"]},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}}
            """#
        let tokenizer = try Tokenizer(tokenizerJSON: Data(json.utf8))
        #expect(tokenizer.encode("\u{E9}", parseSpecial: false) == [0])
        #expect(tokenizer.encode("e\u{301}", parseSpecial: false) == [1])
    }

    @Test(
        "broken JSON is refused where it is broken",
        arguments: [
            "", " ", "{", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "{1:2}", "[1 2]", "nul", "\"", "\"\\", "{}x", "\u{1}",
            "[\"\n\"]",
            "{\"a\":}", "]", "tru", String(repeating: "[", count: 65),
        ])
    func brokenJSON(text: String) throws {
        try refused(text)
    }

    /// No argument of the test above: a run's log would have it four times.
    @Test("JSON is refused however deep it is")
    func deepJSON() throws {
        try refused(String(repeating: "[", count: 100_000))
    }

    private func refused(_ text: String) throws {
        let error = #expect(throws: ModelFileError.self) { try JSONText(Array(text.utf8), name: "test") }
        #expect(try #require(error).field == "test")
        #expect(error?.offset ?? 0 <= UInt64(text.utf8.count))
    }

    @Test("JSON values and escapes")
    func values() throws {
        let text = #" {"a": [1, -2.5e1, true, null, "x\u00e9\ud83d\ude00\n\"\ud800y"], "b": {}, "a\u0301": 3, "á": 4} "#
        let root = try JSONValue(Array(text.utf8), name: "test")
        let list = try root.required("a").elements()
        #expect(list.count == 5)
        #expect(try list[0].int(in: 0...1) == 1)
        #expect(try list[1].double() == -25)
        #expect(try list[2].bool())
        #expect(list[3].isNull)
        #expect(try list[4].string() == "xé😀\n\"\u{FFFD}y")
        #expect(try root["a\u{301}"]?.int(in: 0...9) == 3)
        #expect(try root["\u{E1}"]?.int(in: 0...9) == 4)
        #expect(root["c"] == nil)
        let error = #expect(throws: ModelFileError.self) { try list[1].int(in: 0...9) }
        #expect(try #require(error).field == "test 'a[1]'")
    }

    @Test(
        "a tokenizer.json with bytes changed, cut or doubled anywhere ends in an error or a tokenizer, never in a trap")
    func mutations() throws {
        var random = SeededGenerator(seed: 99)
        var (read, refused) = (0, 0)
        for name in ["byte-level", "pieces", "unigram"] {
            let whole = Array(try SmallForms.data("\(name).tokenizer.json"))
            for _ in 0..<40 {
                var bytes = whole
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let place = Int.random(in: 0..<bytes.count, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                    case 1: bytes.remove(at: place)
                    case 2:
                        let length = min(Int.random(in: 1...40, using: &random), bytes.count - place)
                        bytes.insert(contentsOf: bytes[place..<place + length], at: place)
                    default: bytes[place] = "0123456789{}[],:\"-\\nt".utf8.randomElement(using: &random) ?? 0
                    }
                }
                let tokenizer: Tokenizer
                do throws(ModelFileError) {
                    tokenizer = try Tokenizer(tokenizerJSON: Data(bytes))
                } catch {
                    refused += 1
                    HostileFileTests.expectNamed(error, ["tokenizer.json"], fileSize: bytes.count)
                    continue
                }
                read += 1
                let ids = tokenizer.encode("Hello <|im_end|> wörld 12 日本", parseSpecial: true, addSpecial: true)
                #expect(ids.allSatisfy { (0..<Int32(tokenizer.vocabularySize)).contains($0) })
                let whole = ids.flatMap { tokenizer.bytes(of: $0, includingSpecial: true) }
                let text = tokenizer.decode(ids, includingSpecial: true)
                let expected = String(decoding: whole, as: UTF8.self)
                #expect(text == expected || " " + text == expected)
            }
        }
        #expect(read > 10 && refused > 10, "\(read) read, \(refused) refused")
    }
}
