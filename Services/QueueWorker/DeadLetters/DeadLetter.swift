import ChatCore
import PostgresStore
import RabbitQueue
import TurnProtocol

/// A message of the dead letter queue, and what is to become of the turn that it is about. Pure.
struct DeadLetter {
    enum Content: Equatable {
        /// A turn that its clients wait for.
        case turn(Turn)
        /// What cannot be read where turns stand: the client that waits for the turn of that id, if there is one, can
        /// only be found by the id.
        case unreadableTurn(TurnID)
        /// An outcome, which its shard refused for what it contains. Its turn has ended.
        case outcome(TurnOutcome)
        case unreadable
    }

    let content: Content
    let messageID: String
    let body: [UInt8]
    /// Why it died, as the metric's label.
    enum Cause: String, CaseIterable {
        case expired, rejected, maxlen, unreadable
        case deliveryLimit = "delivery_limit"
        /// A consumer gave it up, in words of its own.
        case givenUp = "given_up"
    }

    let cause: Cause
    /// Where it died, in the broker's names.
    let queue: String
    /// Why, in words for an operator.
    let reason: String
    /// Why, in words for the client.
    let error: String

    init(body: [UInt8], messageID: String?, death: Death?) {
        self.body = body
        self.messageID = messageID ?? ""
        // Somebody's publish straight into the dead letter queue has died nowhere.
        queue = death?.queue ?? Topology.deadLetterQueue
        let words = DeadLetter.words(for: death)
        do {
            content =
                if queue.hasPrefix(Topology.responseQueuePrefix) {
                    .outcome(try TurnOutcome(message: body))
                } else {
                    .turn(try Turn(message: body))
                }
            (reason, error) = (words, words)
            cause = death.map { Cause(rawValue: $0.reason) ?? .givenUp } ?? .rejected
        } catch {
            let id = DeadLetter.holdsTurns(queue) ? messageID.flatMap { TurnID($0) } : nil
            content = id.map { .unreadableTurn($0) } ?? .unreadable
            reason = "unreadable (\(error)): \(words)"
            cause = .unreadable
            self.error = "the turn's message cannot be read"
        }
    }

    /// What a log calls it. Not inlined: the optimiser of Swift 6.3 fails on a switch over a borrowed letter in its caller.
    @inline(never) var name: String { turn?.description ?? messageID }

    var turn: TurnID? {
        switch content {
        case .turn(let turn): turn.id
        case .unreadableTurn(let id): id
        case .outcome(let outcome): outcome.turn
        case .unreadable: nil
        }
    }

    var trace: TraceContext? {
        switch content {
        case .turn(let turn): turn.trace
        case .outcome(let outcome): outcome.trace
        case .unreadableTurn, .unreadable: nil
        }
    }

    var owner: UserKey? {
        switch content {
        case .turn(let turn): turn.conversation.owner
        case .outcome(let outcome): outcome.conversation.owner
        case .unreadableTurn, .unreadable: nil
        }
    }

    private static func words(for death: Death?) -> String {
        switch death?.reason {
        case "expired": "the turn's deadline has passed"
        case "delivery_limit": "the turn was given back too often by consumers that died or failed with it"
        case "rejected", nil: "the message was rejected"
        case .some(let words): words
        }
    }

    /// Whether what dies there is waited for by a client, as far as it is a turn.
    private static func holdsTurns(_ queue: String) -> Bool {
        Topology.turnQueues.contains(queue) || queue == RetryLadder.dueQueue || queue == Topology.deadLetterQueue
    }
}
