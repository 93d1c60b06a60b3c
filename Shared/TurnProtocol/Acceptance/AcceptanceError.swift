import ChatCore
import RabbitQueue
import RedisStore

/// Why a turn was not accepted.
public enum AcceptanceError: Error, Sendable, CustomStringConvertible {
    /// The user or the tenant has as many unfinished turns as it may.
    case tooManyUnfinished(OutstandingTurns.Limit)
    /// The turn's Idempotency-Key stands for another turn, or for this one, which is published already.
    case keyTaken(IdempotencyKeys.Claim)
    /// The turn would begin a conversation under a number under which another turn has begun one.
    case conversationTaken
    /// The turn cannot be written as a message.
    case unwritable
    /// As much long computation waits in this process as may; nothing was published.
    case busy
    /// Redis did not reserve it; nothing was published.
    case store(RedisError)
    /// The broker does not have it.
    case refused(RabbitError)
    /// The broker may have it: a repeat must be under the same id.
    case unconfirmed(RabbitError)

    public var description: String {
        switch self {
        case .tooManyUnfinished(let limit): "\(limit)"
        case .keyTaken(let claim): "the Idempotency-Key stands for turn \(claim.turn)"
        case .conversationTaken: "the conversation's number is another's"
        case .unwritable: "the turn cannot be encoded"
        case .busy: "too much waits to be computed in this process"
        case .store(let error): "\(error)"
        case .refused(let error), .unconfirmed(let error): "\(error)"
        }
    }
}
