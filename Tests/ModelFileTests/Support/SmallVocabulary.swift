@testable import ModelFile

/// A byte-level vocabulary made for a test: control tokens first, then the 256 bytes, then what the merges make.
enum SmallVocabulary {
    static let controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

    /// The character of the byte alphabet for a byte.
    static func symbol(_ byte: UInt8) -> String {
        switch byte {
        case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return String(Unicode.Scalar(byte))
        default:
            let hidden = (0...255).map { UInt8($0) }.filter { byte in
                !(0x21...0x7E).contains(byte) && !(0xA1...0xAC).contains(byte) && !(0xAE...0xFF).contains(byte)
            }
            let index = hidden.firstIndex(of: byte) ?? 0
            return String(Unicode.Scalar(UInt16(0x100 + index)) ?? "?")
        }
    }

    static func encoded(_ text: String) -> String { text.utf8.map(symbol).joined() }

    /// A file with these merges (written in plain text, `("a", "b")`) and further special tokens.
    static func writer(
        pre: String = "gpt-2", merges: [(String, String)] = [], extra: [(text: String, type: Int32)] = [],
        template: String? = nil, metadata: [(String, GGUFWriter.Value)] = []
    ) -> GGUFWriter {
        var tokens = controls
        var types: [Int32] = controls.map { _ in 3 }
        var known = Set(controls.map { Array($0.utf8) })
        func add(_ text: String, _ type: Int32) {
            // By bytes, not as Strings: canonically equal texts are different tokens.
            guard known.insert(Array(text.utf8)).inserted else { return }
            tokens.append(text)
            types.append(type)
        }
        for (text, type) in extra { add(text, type) }
        for byte in 0...255 { add(symbol(UInt8(byte)), 1) }
        for (left, right) in merges { add(encoded(left + right), 1) }
        var writer = GGUFWriter()
        writer.metadata = [
            ("tokenizer.ggml.model", .string("gpt2")),
            ("tokenizer.ggml.pre", .string(pre)),
            ("tokenizer.ggml.tokens", .strings(tokens)),
            ("tokenizer.ggml.token_type", .int32s(types)),
            ("tokenizer.ggml.merges", .strings(merges.map { encoded($0) + " " + encoded($1) })),
            ("tokenizer.ggml.eos_token_id", .uint32(2)),
            ("tokenizer.ggml.bos_token_id", .uint32(1)),
        ]
        if let template { writer.metadata.append(("tokenizer.chat_template", .string(template))) }
        for (key, value) in metadata {
            writer.metadata.removeAll { $0.key == key }
            writer.metadata.append((key: key, value: value))
        }
        return writer
    }

    static func tokenizer(
        pre: String = "gpt-2", merges: [(String, String)] = [], extra: [(text: String, type: Int32)] = [],
        metadata: [(String, GGUFWriter.Value)] = []
    ) throws -> Tokenizer {
        try Tokenizer(
            file: GGUFFile(contents: writer(pre: pre, merges: merges, extra: extra, metadata: metadata).contents()))
    }
}

extension Tokenizer {
    /// The texts of the tokens of `text`, special ones with their names.
    func pieces(_ text: String, parseSpecial: Bool = false) -> [String] {
        encode(text, parseSpecial: parseSpecial).map {
            String(decoding: bytes(of: $0, includingSpecial: true), as: UTF8.self)
        }
    }
}
