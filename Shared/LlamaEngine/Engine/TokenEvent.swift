/// One token of one request, or its end.
public struct TokenEvent: Sendable, Equatable {
    /// The request's id.
    public var request: UInt64
    /// Output index of the token, from 0; the next index when there is no token.
    public var index: Int
    /// The token id; ``none`` for an end without a token (cancelled, failed).
    public var token: Int32
    /// Set on the request's last event. The token that ended the turn (end of turn, last of a stop text) is in that event.
    public var finish: FinishReason?
    /// What went wrong, for failures.
    public var reason: String?

    /// The token id of an event without a token.
    public static let none: Int32 = -1

    public init(request: UInt64, index: Int, token: Int32, finish: FinishReason? = nil, reason: String? = nil) {
        self.request = request
        self.index = index
        self.token = token
        self.finish = finish
        self.reason = reason
    }
}

/// Why a request ended.
public enum FinishReason: String, Sendable, Codable, CaseIterable {
    /// The model's end of turn, a stop token or a stop text.
    case stop
    /// `maxTokens`, or the end of the context.
    case length
    /// ``InferenceEngine/cancel(_:)``.
    case cancelled
    /// The reason is in the event.
    case failed
    /// The last token of `outputSoFar` came out differently: this engine would not continue the same text.
    case diverged
    /// The engine shut down; another one may resume the turn.
    case interrupted
}
