import Foundation

/// What the events of a turn's stream mean, over any number of connections: gives each token once and in order.
public struct TurnFollower: Sendable {
    /// The index of the next token.
    public private(set) var next: Int
    public private(set) var duplicates = 0
    public private(set) var gaps = 0
    /// The last event, and its text, once it has come.
    public private(set) var end: (end: ChatEnd, text: String)?

    /// What the header Last-Event-ID has to say at the next connection; nil before the first token.
    public var lastEventID: String? { next > 0 ? String(next - 1) : nil }

    private let readsTexts: Bool

    /// - Parameter readsTexts: false for who only counts, thousands of streams at once: what has an id is taken for a
    ///   token unread, and its text is empty.
    public init(next: Int = 0, readsTexts: Bool = true) {
        self.next = max(0, next)
        self.readsTexts = readsTexts
    }

    /// - Returns: what is new for the client, if anything.
    /// - Throws: `ChatClientError.malformed` when the connection is not to be read on: a token is missing, or it is no
    ///   stream of ours.
    public mutating func take(_ event: EventStreamParser.Event) throws(ChatClientError) -> ChatEvent? {
        guard end == nil, event.data != "[DONE]" else { return nil }
        guard event.name == "message" else { return .notice(name: event.name, data: event.data) }
        if !readsTexts, let id = event.id { return try token(id, text: "") }
        let payload = try decode(Payload.self, event.data)
        if payload.done == true {
            end = (try decode(ChatEnd.self, event.data), event.data)
            return nil
        }
        guard let text = payload.token, let id = event.id else { return .notice(name: event.name, data: event.data) }
        return try token(id, text: text)
    }

    private mutating func token(_ id: String, text: String) throws(ChatClientError) -> ChatEvent? {
        guard let index = Int(id), index >= 0 else { throw .malformed("the event id \(id.prefix(40))") }
        guard index >= next else {
            duplicates += 1
            return nil
        }
        guard index == next else {
            gaps += 1
            throw .malformed("token \(index) where token \(next) is due")
        }
        next += 1
        return .token(index: index, text: text)
    }

    private struct Payload: Decodable {
        let token: String?
        let done: Bool?
    }

    private func decode<Value: Decodable>(_ type: Value.Type, _ text: String) throws(ChatClientError) -> Value {
        do { return try JSONDecoder().decode(type, from: Data(text.utf8)) } catch {
            throw .malformed("the event \(text.prefix(100))")
        }
    }
}
