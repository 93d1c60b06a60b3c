/// Why a turn failed, in a word for programs and a sentence for people.
///
/// It travels as one text, an outcome's `error`, through outcome, log and shard: the word first, where there is one, and a
/// colon. Texts without one were written by whoever knew none.
public struct TurnFailure: Sendable, Equatable {
    public enum Code: String, Sendable, CaseIterable {
        /// The prompt is longer than the model's context: no repeat of the request helps.
        case contextLengthExceeded = "context_length_exceeded"
        /// Anything else.
        case turnFailed = "turn_failed"
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// Reads an outcome's `error`.
    public init(error: String) {
        for code in Code.allCases where error.hasPrefix(code.rawValue + ": ") {
            self.init(code, String(error.dropFirst(code.rawValue.count + 2)))
            return
        }
        self.init(.turnFailed, error)
    }

    /// What an outcome's `error` is.
    public var text: String { code == .turnFailed ? message : "\(code.rawValue): \(message)" }
}
