import ChatCore
import Tracing

/// Attributes by OpenTelemetry's semantic conventions. None says what a client wrote, or whose key it used.
extension SpanAttributes {
    public enum MessagingOperation: String, Sendable { case send, process }

    /// Of a message that is sent or worked on.
    /// - Parameters:
    ///   - operation: what the platform calls it.
    ///   - queue: where the message goes, or came from.
    ///   - template: a name for all queues of its kind, where there are many.
    public static func messaging(
        _ type: MessagingOperation, _ operation: String, queue: String? = nil, template: String? = nil,
        message: String? = nil, bytes: Int? = nil
    ) -> SpanAttributes {
        var attributes: SpanAttributes = [
            "messaging.system": "rabbitmq", "messaging.operation.name": .string(operation),
            "messaging.operation.type": .string(type.rawValue),
        ]
        attributes["messaging.destination.name"] = queue
        attributes["messaging.destination.template"] = template
        attributes["messaging.message.id"] = message
        attributes["messaging.message.body.size"] = bytes
        return attributes
    }

    /// Of a generation. Stop strings are a client's words: they are left out.
    public static func generation(
        model: String?, _ sampling: Turn.Sampling, conversation: ConversationID? = nil
    ) -> SpanAttributes {
        var attributes: SpanAttributes = [
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "switchboard",
            "gen_ai.request.max_tokens": .int64(Int64(sampling.maxTokens)),
            "gen_ai.request.temperature": .double(Double(sampling.temperature)),
            "gen_ai.request.top_p": .double(Double(sampling.topP)),
            "gen_ai.request.top_k": .int64(Int64(sampling.topK)),
        ]
        attributes["gen_ai.request.model"] = model
        attributes["gen_ai.conversation.id"] = conversation.map { "\($0.value)" }
        return attributes
    }

    /// - Parameter finish: why generation stopped; nil when it did not come to that.
    public mutating func setUsage(prompt: Int? = nil, completion: Int, finish: String?) {
        if let prompt { self["gen_ai.usage.input_tokens"] = prompt }
        self["gen_ai.usage.output_tokens"] = completion
        if let finish { set("gen_ai.response.finish_reasons", value: .stringArray([finish])) }
    }
}
