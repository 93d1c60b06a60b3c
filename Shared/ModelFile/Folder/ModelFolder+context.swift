/// What config.json says of rotations and of the positions that they reach.
extension ModelFolder {
    /// The longest context that a model may claim.
    public static let contextLimit = 1 << 24

    /// Where the rotation's numbers stand: `rope_parameters` since version 5 of `transformers`, `rope_scaling` before.
    public var rotaryGroup: String { has("rope_parameters") ? "rope_parameters" : "rope_scaling" }

    /// How the rotation is scaled: `default`, `linear`, `llama3`, `yarn`...
    public var rotaryType: String {
        get throws(ModelFileError) {
            let usual = try string("\(rotaryGroup).type", default: "default")
            return try string("\(rotaryGroup).rope_type", default: usual)
        }
    }

    /// The context before the rotation was stretched, where the folder says one.
    public var originalContextLength: Int? {
        get throws(ModelFileError) {
            let name = "original_max_position_embeddings"
            for key in ["\(rotaryGroup).\(name)", name] where has(key) {
                return try int(key, in: 1...Self.contextLimit)
            }
            return nil
        }
    }

    /// Tokens of a sequence that the model was made for.
    ///
    /// YaRN stretches the original context by a factor, and folders in use may keep `max_position_embeddings` as it was before
    /// (Qwen2.5: 32,768 times 4), so the longer of the two holds, as in `transformers` and vLLM. Where no original context is given,
    /// nothing says what the factor stretches.
    public var contextLength: Int {
        get throws(ModelFileError) {
            let trained = try int("max_position_embeddings", in: 1...Self.contextLimit)
            guard try rotaryType == "yarn", let original = try originalContextLength else { return trained }
            // In doubles: no factor overflows, and one that is nonsense is refused with the other numbers of the rotation.
            let stretched = Double(original) * (try float("\(rotaryGroup).factor"))
            guard stretched > Double(trained) else { return trained }
            return Int(min(stretched.rounded(.down), Double(Self.contextLimit)))
        }
    }
}
