/// The forms of chat templates that are known, with the control tokens of the vocabulary at hand.
enum ChatForm: Sendable, Equatable {
    /// `<|im_start|>role\ncontent<|im_end|>\n`. A conversation that does not begin with a system message gets the one
    /// that the template carries, if it carries one.
    case chatML(start: Int32, end: Int32, defaultSystem: String?)
    /// `<s>[INST] <<SYS>>\nsystem\n<</SYS>>\n\nuser [/INST] assistant </s>`
    case llama2(begin: Int32, end: Int32)
    /// `<|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>`
    case llama3(begin: Int32, startHeader: Int32, endHeader: Int32, end: Int32)
    /// `<|role|>\ncontent</s>\n`, where the role's mark is a token of its own in some vocabularies and text in others.
    case zephyr(end: Int32, roles: [String: Int32])

    static var key: String { "tokenizer.chat_template" }

    /// What stands before the first message.
    func opening(_ messages: [ChatMessage]) -> [ChatTemplate.Segment] {
        switch self {
        case .chatML(let start, let end, let defaultSystem?) where messages.first?.role != .system:
            guard !messages.isEmpty else { return [] }
            return [.special(start), .text("system\n" + defaultSystem), .special(end), .text("\n")]
        case .llama3(let begin, _, _, _):
            return [.special(begin)]
        default:
            return []
        }
    }

    /// The message at `index`.
    func section(_ messages: [ChatMessage], _ index: Int) -> [ChatTemplate.Segment] {
        let message = messages[index]
        let role = message.role.rawValue
        switch self {
        case .chatML(let start, let end, _):
            return [.special(start), .text(role + "\n" + message.content), .special(end), .text("\n")]
        case .llama3(_, let startHeader, let endHeader, let end):
            return [
                .special(startHeader), .text(role), .special(endHeader), .text("\n\n" + message.content.trimmed),
                .special(end),
            ]
        case .zephyr(let end, let roles):
            return mark(role, roles, then: "\n" + message.content) + [.special(end), .text("\n")]
        case .llama2(let begin, let end):
            return llama2Section(messages, index, begin: begin, end: end)
        }
    }

    /// What makes the model answer.
    var generationPrompt: [ChatTemplate.Segment] {
        switch self {
        case .chatML(let start, _, _): [.special(start), .text("assistant\n")]
        case .llama2: []
        case .llama3(_, let startHeader, let endHeader, _):
            [.special(startHeader), .text("assistant"), .special(endHeader), .text("\n\n")]
        case .zephyr(_, let roles): mark("assistant", roles, then: "\n")
        }
    }

    private func mark(_ role: String, _ roles: [String: Int32], then text: String) -> [ChatTemplate.Segment] {
        guard let token = roles[role] else { return [.text("<|\(role)|>" + text)] }
        return [.special(token), .text(text)]
    }

    /// Llama 2 has no place for a system message but inside the user's that follows it.
    private func llama2Section(
        _ messages: [ChatMessage], _ index: Int, begin: Int32, end: Int32
    ) -> [ChatTemplate.Segment] {
        let content = messages[index].content
        func systemBlock(_ text: String) -> String { "<<SYS>>\n" + text + "\n<</SYS>>\n\n" }
        switch messages[index].role {
        case .assistant:
            return [.text(" " + content.trimmed + " "), .special(end)]
        case .system where index + 1 < messages.count && messages[index + 1].role == .user:
            return []
        case .system:
            return [.special(begin), .text("[INST] " + systemBlock(content).trimmed + " [/INST]")]
        case .user:
            var text = content
            if index > 0, messages[index - 1].role == .system { text = systemBlock(messages[index - 1].content) + text }
            return [.special(begin), .text("[INST] " + text.trimmed + " [/INST]")]
        }
    }
}

extension String {
    /// Without whitespace at its ends, by scalars as Jinja's `trim` does.
    fileprivate var trimmed: String {
        let scalars = unicodeScalars.drop { $0.properties.isWhitespace }
        guard let last = scalars.lastIndex(where: { !$0.properties.isWhitespace }) else { return "" }
        return String(scalars[...last])
    }
}
