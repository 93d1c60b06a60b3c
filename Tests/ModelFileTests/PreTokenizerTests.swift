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
            for name in ["gpt-2", "smollm", "llama-bpe"] {
                let words = try words(text, name)
                #expect(words.joined().utf8.elementsEqual(text.utf8), "\(name): \(text.debugDescription)")
                #expect(!words.contains(""))
            }
        }
    }

    @Test("an unknown pattern has no matcher")
    func unknown() {
        #expect(PreTokenizer(name: "bloom") == nil)
    }
}
