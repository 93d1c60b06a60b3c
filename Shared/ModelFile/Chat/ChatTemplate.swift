import Foundation

/// Makes a prompt of a conversation by the model's own Jinja template (`tokenizer.chat_template` of a GGUF file,
/// `chat_template` of a Hugging Face folder).
///
/// Only what the template writes itself can become control tokens. Of a message's text it is known wherever the template
/// puts it (`Jinja.Text`): a user can spell the name of a control token, but never make one.
public struct ChatTemplate: Sendable {
    private let template: Jinja.Template
    private let tokenizer: Tokenizer
    /// By the names that templates know them by.
    private let specialTokens: [String: Jinja.Text]
    /// Whether the model brought no template, so that it is asked in ChatML, which most models have seen.
    public let isFallback: Bool

    static let chatML =
        "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

    /// Why there is no prompt for a conversation.
    public struct Refusal: Error, Sendable, Equatable, CustomStringConvertible {
        /// In the template's words where it refuses messages itself (`raise_exception`).
        public let reason: String

        public var description: String { "the model's chat template: \(reason)" }
    }

    /// Reads the template of `file`, see `init(_:field:tokenizer:)`; without one, ChatML is taken.
    public init(file: GGUFFile, tokenizer: Tokenizer) throws(ModelFileError) {
        let key = "tokenizer.chat_template"
        guard file.metadata[key] != nil else {
            try self.init(fallbackFor: tokenizer)
            return
        }
        try self.init(file.string(key), field: "metadata '\(key)'", tokenizer: tokenizer)
    }

    private init(fallbackFor tokenizer: Tokenizer) throws(ModelFileError) {
        try self.init(Self.chatML, field: "ChatML", tokenizer: tokenizer, isFallback: true)
    }

    /// Reads a template out of a file of its own, which stands for the model's.
    public init(path: String, tokenizer: Tokenizer) throws(ModelFileError) {
        let file = try MappedFile(path: path)
        guard let text = String(validating: file.bytes, as: UTF8.self) else {
            throw ModelFileError(offset: nil, field: "chat template \(path)", reason: "is not UTF-8")
        }
        try self.init(text, field: "chat template \(path)", tokenizer: tokenizer)
    }

    /// Reads the template of a folder: chat_template.jinja, else `chat_template` of tokenizer_config.json, of several the
    /// one named "default"; without any, ChatML is taken.
    public init(folder: ModelFolder, tokenizer: Tokenizer) throws(ModelFileError) {
        let name = "chat_template.jinja"
        if let text = try folder.text(name) {
            try self.init(text, field: name, tokenizer: tokenizer)
            return
        }
        let configuration = "tokenizer_config.json"
        guard let value = try folder.json(configuration)?["chat_template"] else {
            try self.init(fallbackFor: tokenizer)
            return
        }
        var text = value
        if value.kind == .array {
            var found: JSONValue?
            for named in try value.elements() where try named.required("name").string() == "default" {
                found = try named.required("template")
            }
            guard let found else { throw value.refusal("has no template named 'default'") }
            text = found
        }
        try self.init(text.string(), field: "\(configuration) '\(text.place)'", tokenizer: tokenizer)
    }

    /// Reads the template of a model, whatever form it has.
    public init(source: ModelSource, tokenizer: Tokenizer) throws(ModelFileError) {
        switch source {
        case .gguf(let file): try self.init(file: file, tokenizer: tokenizer)
        case .shards(let shards): try self.init(file: shards.first, tokenizer: tokenizer)
        case .folder(let folder): try self.init(folder: folder, tokenizer: tokenizer)
        }
    }

    /// Reads a template and renders a first message with it: one that uses what is not supported is refused here, with
    /// construct and line, as is one that no message can pass its limits.
    /// - Parameter field: Where the template stands, for errors.
    public init(_ text: String, field: String, tokenizer: Tokenizer) throws(ModelFileError) {
        try self.init(text, field: field, tokenizer: tokenizer, isFallback: false)
    }

    private init(_ text: String, field: String, tokenizer: Tokenizer, isFallback: Bool) throws(ModelFileError) {
        self.isFallback = isFallback
        func refusal(_ error: Jinja.TemplateError) -> ModelFileError {
            ModelFileError(offset: nil, field: field, reason: error.description)
        }
        do throws(Jinja.TemplateError) {
            template = try Jinja.Template(text)
        } catch {
            throw refusal(error)
        }
        var names: [String: Jinja.Text] = [:]
        for (name, token) in [("bos_token", tokenizer.bos), ("eos_token", tokenizer.eos)] {
            guard let token else { continue }
            names[name] = Jinja.Text(trusting: tokenizer.bytes(of: token, includingSpecial: true))
        }
        specialTokens = names
        self.tokenizer = tokenizer
        do throws(Jinja.TemplateError) {
            _ = try prompt([ChatMessage(role: .user, content: "x")], addGenerationPrompt: true, date: Date())
        } catch  where error.kind == .raised {
            // It may want other messages than these.
        } catch {
            throw refusal(error)
        }
    }

    /// The prompt for `messages` as text, in parts: the template's own words, in which the names of control tokens are
    /// those tokens, and the words of messages, in which they are text.
    public func render(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true, date: Date = Date()
    ) throws(Refusal) -> [Tokenizer.Part] {
        do throws(Jinja.TemplateError) {
            return try prompt(messages, addGenerationPrompt: addGenerationPrompt, date: date).parts
        } catch {
            throw Refusal(reason: error.kind == .raised ? error.reason : error.description)
        }
    }

    /// The token ids of the prompt for `messages`.
    /// - Parameter date: What the template is told of the time; the calendar of UTC.
    public func encode(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true, date: Date = Date()
    ) throws(Refusal) -> [Int32] {
        var sections = EncodedSections(limit: .max, keeps: false)
        return try encode(messages, addGenerationPrompt: addGenerationPrompt, date: date, &sections)
    }

    /// The same ids, without the work that was done before; or so many of them that there are more than the limit of
    /// `sections`.
    public func encode(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true, date: Date = Date(),
        _ sections: inout EncodedSections
    ) throws(Refusal) -> [Int32] {
        let tokens = tokenizer.encode(
            try render(messages, addGenerationPrompt: addGenerationPrompt, date: date), &sections)
        // A model that wants a begin token gets one, also where its template does not say so; never two.
        guard tokenizer.addBOS, let bos = tokenizer.bos, tokens.first != bos else { return tokens }
        return [bos] + tokens
    }

    private func prompt(
        _ messages: [ChatMessage], addGenerationPrompt: Bool, date: Date
    ) throws(Jinja.TemplateError) -> Jinja.Text {
        var context = specialTokens.mapValues { Jinja.Value.text($0) }
        context["messages"] = .list(Jinja.List(messages.map(\.value), depth: 2))
        context["add_generation_prompt"] = .bool(addGenerationPrompt)
        // As Hugging Face hands them over where there are none.
        context["tools"] = .null
        context["documents"] = .null
        let bytes = messages.reduce(0) { $0 + $1.content.utf8.count }
        return try template.render(
            context, inputBytes: bytes, now: Jinja.CivilTime(unixTime: Int(date.timeIntervalSince1970)))
    }
}

extension ChatMessage {
    fileprivate var value: Jinja.Value {
        .dictionary(
            Jinja.Dictionary(flat: [
                // One of three words of ours, of which templates make the names of tokens.
                ("role", .string(role.rawValue)), ("content", .text(Jinja.Text(untrusted: content))),
            ]))
    }
}

extension Jinja.Text {
    fileprivate var parts: [Tokenizer.Part] {
        var parts: [Tokenizer.Part] = []
        var position = 0
        func add(_ range: Range<Int>, _ isTrusted: Bool) {
            guard !range.isEmpty else { return }
            parts.append(Tokenizer.Part(String(decoding: bytes[range], as: UTF8.self), parseSpecial: isTrusted))
        }
        for range in trusted {
            add(position..<range.lowerBound, false)
            add(range, true)
            position = range.upperBound
        }
        add(position..<count, false)
        return parts
    }
}
