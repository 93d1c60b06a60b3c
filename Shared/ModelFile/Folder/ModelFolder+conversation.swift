import Foundation

/// What a folder says about tokens and turns.
extension ModelFolder {
    /// Every token that ends a turn: `eos_token_id` of generation_config.json and config.json, one id or several.
    public func stopTokens() throws(ModelFileError) -> [Int32] {
        var tokens: [Int32] = []
        for file in [try json("generation_config.json"), configuration] {
            guard let ids = file?["eos_token_id"] else { continue }
            for id in ids.kind == .array ? try ids.elements() : [ids] {
                let token = Int32(try id.int(in: 0...Int(Int32.max)))
                guard tokens.count < 256 else { throw ids.refusal("names too many tokens") }
                if !tokens.contains(token) { tokens.append(token) }
            }
        }
        return tokens
    }

    /// The model's Jinja text and where it stands: chat_template.jinja, else `chat_template` of tokenizer_config.json, where it
    /// is a text or a list of named ones, of which `default` counts. nil where the model has none.
    public func chatTemplate() throws(ModelFileError) -> (text: String, field: String)? {
        if let text = try text("chat_template.jinja") { return (text, "chat_template.jinja") }
        guard let value = try json("tokenizer_config.json")?["chat_template"] else { return nil }
        let field = "tokenizer_config.json 'chat_template'"
        guard value.kind == .array else { return (try value.string(), field) }
        for template in try value.elements() where try template.required("name").string() == "default" {
            return (try template.required("template").string(), field)
        }
        return nil
    }

    /// The bytes of tokenizer.json and, where there is one, of tokenizer_config.json.
    func tokenizerFiles() throws(ModelFileError) -> (tokenizer: Data, configuration: Data?) {
        guard let tokenizer = try data("tokenizer.json") else {
            throw ModelFileError(offset: nil, field: "tokenizer.json", reason: "is missing")
        }
        return (tokenizer, try data("tokenizer_config.json"))
    }
}
