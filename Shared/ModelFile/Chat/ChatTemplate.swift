/// Makes a prompt of a conversation, in the form that the model was trained with.
///
/// The form is recognised from the text of the file's Jinja template (`tokenizer.chat_template`); the template itself is
/// never run, since it is a program from an untrusted file. Messages become text tokens only: what a user writes can
/// spell the name of a control token, but never be one.
public struct ChatTemplate: Sendable {
    let form: ChatForm
    private let tokenizer: Tokenizer

    /// Recognises the template of `file` and looks up the control tokens that it needs. Throws when the form is none of
    /// ChatML, Llama 2, Llama 3 and Zephyr, or when the vocabulary lacks one of its tokens.
    public init(file: GGUFFile, tokenizer: Tokenizer) throws(ModelFileError) {
        form = try ChatForm(template: file.string(ChatForm.key), tokenizer: tokenizer)
        self.tokenizer = tokenizer
    }

    /// A piece of a prompt: a control token, or text in which no control token is recognised.
    public enum Segment: Sendable, Equatable {
        case special(Int32)
        case text(String)
    }

    /// A conversation as token ids, with the share of each message, so that history can be cut by whole messages.
    public struct Prompt: Sendable, Equatable {
        public fileprivate(set) var tokens: [Int32] = []
        /// How many of `tokens` each message takes, in the order of the messages. Leaving a message out makes the prompt
        /// shorter by this number, except where the form treats the first message differently (the system message that
        /// a template puts before a conversation without one, or Llama 2's system message inside the first user's).
        public fileprivate(set) var messageCounts: [Int] = []
        /// Tokens of no message: the begin of the text, the template's own system message, the opening of the answer.
        public var overhead: Int { tokens.count - messageCounts.reduce(0, +) }
    }

    /// The prompt for `messages`, one list of segments after the other: what comes before the first message, each
    /// message, and the opening of the assistant's answer.
    public func render(_ messages: [ChatMessage], addGenerationPrompt: Bool = true) -> [Segment] {
        sections(messages, addGenerationPrompt: addGenerationPrompt).flatMap { $0 }
    }

    /// The token ids of the prompt for `messages`.
    public func encode(_ messages: [ChatMessage], addGenerationPrompt: Bool = true) -> Prompt {
        var prompt = Prompt()
        let sections = sections(messages, addGenerationPrompt: addGenerationPrompt)
        for (index, section) in sections.enumerated() {
            let start = prompt.tokens.count
            for segment in section {
                switch segment {
                case .special(let token): prompt.tokens.append(token)
                case .text(let text): prompt.tokens += tokenizer.encode(text, parseSpecial: false)
                }
            }
            if index > 0, index <= messages.count { prompt.messageCounts.append(prompt.tokens.count - start) }
        }
        return prompt
    }

    /// Before the messages, each message, after the messages: always `messages.count + 2` sections.
    private func sections(_ messages: [ChatMessage], addGenerationPrompt: Bool) -> [[Segment]] {
        var sections = [form.opening(messages)]
        for index in messages.indices { sections.append(form.section(messages, index)) }
        sections.append(addGenerationPrompt ? form.generationPrompt : [])
        // A model that wants a begin token gets one, also where its template does not say so; never two.
        if tokenizer.addBOS, let bos = tokenizer.bos, sections.joined().first != .special(bos) {
            sections[0].insert(.special(bos), at: 0)
        }
        return sections
    }
}
