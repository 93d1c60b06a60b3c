/// What a folder says about turns.
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
}
