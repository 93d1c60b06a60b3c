extension Tokenizer {
    /// Reads the tokenizer of a model, whatever form it has: a GGUF file's, or a folder's tokenizer.json with what
    /// tokenizer_config.json, generation_config.json and config.json say of its special tokens.
    public convenience init(source: ModelSource) throws(ModelFileError) {
        switch source {
        case .gguf(let file): try self.init(file: file)
        case .shards(let shards): try self.init(file: shards.first)
        case .folder(let folder): try self.init(folder: folder)
        }
    }

    public convenience init(folder: ModelFolder) throws(ModelFileError) {
        guard let tokenizer = try folder.data("tokenizer.json") else {
            throw ModelFileError(offset: nil, field: "tokenizer.json", reason: "is missing")
        }
        try self.init(
            tokenizerJSON: tokenizer, tokenizerConfig: try folder.data("tokenizer_config.json"),
            stopTokens: try folder.stopTokens())
    }
}
