/// Names of tokens that end a turn, as llama.cpp knows them, for files that say too little: a fine-tune that ends its turns in
/// another way than its file tells, or a model that goes on into the next file of a repository.
enum EndNames {
    static let all: [String] = [
        // of a turn, a message or a text
        "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>",
        "<end_of_utterance>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<eos>", "</s>", "<turn|>", "[e~[",
        "<｜end▁of▁sentence｜>",
        // of what is handed to a tool, or was thought
        "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<|tool_response>",
        // of a file, or of what fills a gap in one
        "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
        "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
    ]

    private static let bytes = Set(all.map { Array($0.utf8) })
    private static let longest = bytes.reduce(0) { max($0, $1.count) }

    static func contains(_ text: some Collection<UInt8>) -> Bool {
        guard let first = text.first, [UInt8(ascii: "<"), UInt8(ascii: "["), UInt8(ascii: "_")].contains(first),
            text.count <= longest
        else { return false }
        return bytes.contains(Array(text))
    }

    /// The names that end no turn in a vocabulary that has these others: there they only end a message, or are text.
    static func exceptions(among names: Set<String>) -> Set<String> {
        var exceptions: Set<String> = []
        let hands = names.contains("<|call|>") || names.contains("<|calls|>")
        if hands, names.contains("<|return|>") || names.contains("<|flush|>") { exceptions.insert("<|end|>") }
        if names.contains("<|tool_response>") { exceptions.insert("</s>") }
        return exceptions
    }

    /// Whether a token that is called normal looks like no text: `<...>` or `[...]`.
    static func isMarkup(_ text: some Collection<UInt8>) -> Bool {
        guard text.count >= 3, let first = text.first, let last = Array(text).last else { return false }
        return first == UInt8(ascii: "<") && last == UInt8(ascii: ">")
            || first == UInt8(ascii: "[") && last == UInt8(ascii: "]")
    }
}
