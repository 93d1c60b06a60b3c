import ChatCore
import HTTPTypes
import Hummingbird
import ServiceKit

/// Turn events in the form of server-sent events (WHATWG HTML, section 9.2).
enum ServerSentEvents {
    static let headers: HTTPFields = [
        .contentType: "text/event-stream; charset=utf-8",
        .cacheControl: "no-cache, no-transform",
        HTTPField.Name("X-Accel-Buffering") ?? .cacheControl: "no",  // nginx: pass each event on at once
    ]

    static let heartbeat = ": waiting\n\n"

    /// Asks the client to reconnect after `pause`.
    static func retry(after pause: Duration) -> String { "retry: \(max(0, Int(pause / .milliseconds(1))))\n\n" }

    /// What a token's event has besides its text.
    static let tokenBytes = 48

    /// About how many bytes events come to.
    static func bytes(of events: [TurnEvent]) -> Int {
        events.reduce(0) { bytes, event in
            if case .token(_, let text) = event { bytes + tokenBytes + text.utf8.count } else { bytes + tokenBytes }
        }
    }

    static func text(of events: [TurnEvent]) -> String { events.reduce(into: "") { append($1, to: &$0) } }

    /// Appends one event. A token's id is its index; the end carries none, so that a reconnect asks for it again.
    static func append(_ event: TurnEvent, to text: inout String) {
        switch event {
        case .token(let index, let token):
            text += "id: \(index)\ndata: {\"token\":"
            JSONText.append(token, to: &text)
            text += ",\"done\":false}\n\n"
        case .end(_, let end):
            text += "data: "
            JSON.end(end).write(to: &text)
            text += "\n\ndata: [DONE]\n\n"
        case .waiting(let wait):
            // Named, so that who listens for messages only never hears of it; without a token, so that nobody who reads
            // every line of data counts one. No id: it takes no place in the log.
            text += "event: queue\ndata: "
            JSON.wait(wait).write(to: &text)
            text += "\n\n"
        }
    }
}

extension JSON {
    fileprivate static func wait(_ wait: TurnWait) -> JSON {
        var members: [(String, JSON)] = [("done", .bool(false)), ("place", .integer(Int64(wait.place)))]
        if let estimate = wait.estimate { members.append(("estimated_seconds", .number(Double(estimate) / 1000))) }
        return .object(members)
    }

    /// The last event: done, how, and what it cost.
    fileprivate static func end(_ end: TurnEnd) -> JSON {
        var members: [(String, JSON)] = [
            ("token", .string("")), ("done", .bool(true)), ("status", .string(end.status.rawValue)),
            ("finish_reason", .string(end.finishReason.rawValue)),
            ("conversation_id", .integer(end.conversation.value)),
            ("model", .string(end.model)),
            (
                "usage",
                .object([
                    ("prompt_tokens", .integer(Int64(end.usage.promptTokens))),
                    ("completion_tokens", .integer(Int64(end.usage.completionTokens))),
                    ("total_tokens", .integer(Int64(end.usage.totalTokens))),
                ])
            ),
            ("processing_time", .number(Double(end.duration) / 1000)),
        ]
        if let time = end.engineFirstToken { members.append(("engine_first_token_ms", .number(time))) }
        if let degradation = end.degradation { members.append(("degradation", .degradation(degradation))) }
        if let failure = end.error.map(TurnFailure.init(error:)) {
            members.append(
                (
                    "error",
                    .object([("code", .string(failure.code.rawValue)), ("message", .string(failure.message))])
                ))
        }
        return .object(members)
    }
}
