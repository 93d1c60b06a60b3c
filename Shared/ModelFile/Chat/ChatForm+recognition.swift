import Foundation

extension ChatForm {
    /// Recognises the form from the text of a Jinja template.
    init(template: String, tokenizer: Tokenizer) throws(ModelFileError) {
        func control(_ name: String) throws(ModelFileError) -> Int32 {
            guard let token = tokenizer.controlToken(named: name) else {
                throw ModelFileError(
                    offset: nil, field: "metadata '\(Self.key)'",
                    reason: "needs the token \(name), which is no control token of the vocabulary")
            }
            return token
        }
        func required(_ token: Int32?, _ name: String) throws(ModelFileError) -> Int32 {
            guard let token else {
                throw ModelFileError(
                    offset: nil, field: "metadata 'tokenizer.ggml.\(name)_token_id'",
                    reason: "is missing, and the chat template needs it")
            }
            return token
        }
        func has(_ text: String) -> Bool { template.contains(text) }

        if has("<|im_start|>"), !has("<|im_sep|>") {
            self = .chatML(
                start: try control("<|im_start|>"), end: try control("<|im_end|>"),
                defaultSystem: Self.defaultSystemMessage(template))
        } else if has("<|start_header_id|>"), has("<|end_header_id|>"), has("<|eot_id|>") {
            self = .llama3(
                begin: try required(tokenizer.bos, "bos"), startHeader: try control("<|start_header_id|>"),
                endHeader: try control("<|end_header_id|>"), end: try control("<|eot_id|>"))
        } else if has("[INST]"), has("<<SYS>>"), !has("[AVAILABLE_TOOLS]"), !has("[SYSTEM_PROMPT]") {
            self = .llama2(begin: try required(tokenizer.bos, "bos"), end: try required(tokenizer.eos, "eos"))
        } else if has("<|user|>"), has("<|assistant|>"), has("eos_token") || has("<|endoftext|>"), !has("<|end|>"),
            !has("[gMASK]")
        {
            var roles: [String: Int32] = [:]
            for role in ["system", "user", "assistant"] { roles[role] = tokenizer.controlToken(named: "<|\(role)|>") }
            self = .zephyr(end: try required(tokenizer.eos, "eos"), roles: roles)
        } else {
            throw ModelFileError(
                offset: nil, field: "metadata '\(Self.key)'",
                reason: "is none of the known forms (ChatML, Llama 2, Llama 3, Zephyr)")
        }
    }

    /// The system message that a ChatML template writes by itself: a literal between `<|im_start|>system\n` and
    /// `<|im_end|>`. Where an expression stands between them (`' + message['content'] + '`), it is the caller's message
    /// and no literal.
    static func defaultSystemMessage(_ template: String) -> String? {
        // Cut once, so that a hostile template of many openings is still read in linear time.
        let pieces = template.components(separatedBy: "<|im_start|>system")
        for (before, piece) in zip(pieces, pieces.dropFirst()) {
            // The newline is written as such, or as an escape inside the literal.
            guard let newline = ["\\n", "\n"].first(where: { piece.hasPrefix($0) }),
                let end = piece.range(of: "<|im_end|>")
            else { continue }
            let literal = piece[piece.index(piece.startIndex, offsetBy: newline.count)..<end.lowerBound]
            guard !literal.contains("{{"), !literal.contains("{%") else { continue }
            guard let quote = before.last, "'\"".contains(quote) else { return String(literal) }
            if !hasUnescaped(quote, literal) { return unescaped(literal) }
        }
        return nil
    }

    private static func hasUnescaped(_ quote: Character, _ literal: Substring) -> Bool {
        var escaped = false
        for character in literal {
            if !escaped, character == quote { return true }
            escaped = !escaped && character == "\\"
        }
        return false
    }

    /// The text of a Jinja string literal.
    private static func unescaped(_ literal: Substring) -> String {
        var text = ""
        var escaped = false
        for character in literal {
            if escaped {
                text.append(character == "n" ? "\n" : character == "t" ? "\t" : character)
                escaped = false
            } else if character == "\\" {
                escaped = true
            } else {
                text.append(character)
            }
        }
        return text
    }
}
