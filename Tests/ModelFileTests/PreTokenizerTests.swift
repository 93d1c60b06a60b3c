import SeededRandom
import Testing

@testable import ModelFile

@Suite("Splitting text into words")
struct PreTokenizerTests {
    func words(_ text: String, _ name: String) throws -> [String] {
        let pre = try #require(PreTokenizer(name: name))
        var text = text
        return text.withUTF8 { bytes in
            var words: [String] = []
            pre.forEachWord(UnsafeRawBufferPointer(bytes)) { range in
                words.append(String(decoding: bytes[range], as: UTF8.self))
                return true
            }
            return words
        }
    }

    @Test(
        "the pattern of GPT-2",
        arguments: [
            ("Hello world", ["Hello", " world"]),
            ("I'm you'll 'VE don't", ["I", "'m", " you", "'ll", " '", "VE", " don", "'t"]),
            ("a  b", ["a", " ", " b"]),
            ("a\n\nb", ["a", "\n", "\n", "b"]),
            ("a\r\nb  ", ["a", "\r", "\n", "b", "  "]),
            ("x12 345!?", ["x", "12", " 345", "!?"]),
            ("日本語 です。", ["日本語", " です", "。"]),
            ("e\u{301}te\u{301}", ["e", "\u{301}", "te", "\u{301}"]),
            ("½ Ⅷ²", ["½", " Ⅷ²"]),
            ("a\u{3000}\u{A0}b", ["a", "\u{3000}", "\u{A0}", "b"]),
            ("👩‍💻 ok", ["👩‍💻", " ok"]),
            ("'", ["'"]), ("", []), (" ", [" "]),
        ])
    func gpt2(text: String, expected: [String]) throws {
        #expect(try words(text, "gpt-2").map(Array.init(_:)) == expected.map(Array.init(_:)))
    }

    @Test(
        "smollm takes every digit alone, and a digit ends the text before it",
        arguments: [
            ("x12 345", ["x", "1", "2", " ", "3", "4", "5"]),
            ("a  1", ["a", "  ", "1"]),
            ("a  b", ["a", " ", " b"]),
            ("v²Ⅷ", ["v", "²", "Ⅷ"]),
            ("it's 9'", ["it", "'s", " ", "9", "'"]),
        ])
    func smollm(text: String, expected: [String]) throws {
        #expect(try words(text, "smollm") == expected)
    }

    @Test(
        "the pattern of Llama 3",
        arguments: [
            ("I'M we'Re", ["I", "'M", " we", "'Re"]),
            ("12345", ["123", "45"]), ("a 1234", ["a", " ", "123", "4"]),
            ("\tfoo(bar)\n\n  x", ["\tfoo", "(bar", ")\n\n", " ", " x"]),
            ("a \n \n b", ["a", " \n \n", " b"]),
            ("!!\r\n", ["!!\r\n"]), ("a  ", ["a", "  "]), (" ?x", [" ?", "x"]),
        ])
    func llama3(text: String, expected: [String]) throws {
        #expect(try words(text, "llama-bpe").map { Array($0.utf8) } == expected.map { Array($0.utf8) })
    }

    @Test("words put together are the text, whatever it is")
    func cover() throws {
        var random = SeededGenerator(seed: 5)
        for _ in 0..<2000 {
            let text = random.text(length: Int.random(in: 0..<24, using: &random))
            for name in ["gpt-2", "smollm", "llama-bpe", "deepseek-llm", "viking", "seed-coder", "superbpe"] {
                let words = try words(text, name)
                #expect(words.joined().utf8.elementsEqual(text.utf8), "\(name): \(text.debugDescription)")
                #expect(!words.contains(""))
            }
        }
    }

    @Test("an unknown pattern has no matcher")
    func unknown() {
        #expect(PreTokenizer(name: "chameleon") == nil)
    }

    @Test(
        "Seed-Coder's newlines stand alone",
        arguments: [
            ("a!!\n\nb", ["a", "!!", "\n\n", "b"]), ("x12 I'm", ["x", "1", "2", " I", "'m"]),
            (" ?\r\n", [" ?", "\r\n"]),
        ])
    func seedCoder(text: String, expected: [String]) throws {
        #expect(try words(text, "seed-coder").map { Array($0.utf8) } == expected.map { Array($0.utf8) })
    }

    @Test(
        "Bloom's and Viking's words have no punctuation inside",
        arguments: [
            ("bloom", "Hello, world (x)!", ["Hello", ",", " world", " (", "x", ")!"]),
            ("viking", "Moi 123, on", ["Moi", " ", "1", "2", "3", ",", " on"]),
            ("bloom", "日本。語", ["日本", "。", "語"]), ("bloom", "a  b\n", ["a", " ", " b", "\n"]),
            ("poro-chat", "it's 12", ["it's", " 12"]),
        ])
    func bloom(name: String, text: String, expected: [String]) throws {
        #expect(try words(text, name) == expected)
    }

    @Test(
        "SuperBPE cuts digits in threes from their end, and nothing else",
        arguments: [
            ("1234567", ["1", "234", "567"]), ("123456", ["123", "456"]), ("12", ["12"]),
            ("by the way 1000 x", ["by the way ", "1", "000", " x"]), ("½1234", ["½", "1", "234"]), ("", []),
        ])
    func superBPE(text: String, expected: [String]) throws {
        #expect(try words(text, "superbpe") == expected)
    }

    /// The expressions are those of DeepSeek LLM's tokenizer, one after the other.
    @Test(
        "the patterns of DeepSeek LLM",
        arguments: [
            ("Hello world", ["Hello", " world"]), ("a\nb", ["a", "\n", "b"]), ("x  y", ["x", " ", " y"]),
            ("end.  ", ["end", ".", "  "]), ("日本語です", ["日本語です"]), ("x123", ["x", "123"]),
            ("Привет, мир!", ["Привет", ",", " мир", "!"]), ("é—x", ["é", "—", "x"]), ("“q”", ["“", "q", "”"]),
        ])
    func deepseek(text: String, expected: [String]) throws {
        #expect(try words(text, "deepseek-llm") == expected)
    }

    @Test("names of one pattern split alike")
    func aliases() throws {
        for (name, other) in [
            ("f2llmv2", "qwen2"), ("bailingmoe", "qwen2"), ("talkie", "gpt-4o"), ("hy_v4", "deepseek-v3"),
        ] {
            #expect(PreTokenizer(name: name) == PreTokenizer(name: other))
        }
    }

    @Test("a million digits take no longer than a million of anything")
    func manyDigits() throws {
        let words = try words(String(repeating: "7", count: 200_000), "superbpe")
        #expect(words.count == 66_667 && words[0] == "77" && words[1] == "777")
    }
}
