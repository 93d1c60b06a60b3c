import ChatCore
import SeededRandom

/// A turn as the drill's clients will ask for it, in the undisturbed run and in the disturbed one.
public struct PlannedTurn: Sendable, Equatable {
    public let index: Int
    public let kind: Turn.Kind
    /// Unique in the drill, so that a stored turn is recognised whatever its client heard of it.
    public let message: String
    public let maxTokens: Int
    public let temperature: Double
    public let seed: UInt64
    /// Sent while the turn before it in the conversation is still running.
    public let isEager: Bool
    /// Tokens after which its client cancels it, when the drill is disturbed.
    public var cancelledAfter: Int?
    /// Whether its client reads it once more from the beginning when it has ended, from its log or from its shard.
    public var isReplayed = false
}

/// One user's conversation: its turns follow each other.
public struct PlannedConversation: Sendable, Equatable {
    public let index: Int
    /// From the beginning of the drill.
    public let start: Duration
    public let turns: [PlannedTurn]
}

public struct TurnPlan: Sendable, Equatable {
    public let conversations: [PlannedConversation]

    public var turns: [PlannedTurn] { conversations.flatMap(\.turns) }

    /// - Parameters:
    ///   - turns: how many, in conversations of one to four.
    ///   - span: conversations begin evenly over it.
    ///   - tokens: what `max_tokens` is drawn from.
    public init(turns: Int, span: Duration, tokens: ClosedRange<Int>, seed: UInt64) {
        var random = SeededGenerator(seed: seed ^ 0x7475_726E)
        var conversations: [(start: Duration, turns: [PlannedTurn])] = []
        var index = 0
        while index < turns {
            let length = min(turns - index, [1, 1, 2, 2, 3, 4].randomElement(using: &random) ?? 1)
            let planned = (0..<length).map { position in
                // A chat whose client is cut off is cancelled, and what it had said is history: so it comes last.
                let kinds: [Turn.Kind] =
                    position == length - 1 ? [.stream, .stream, .chat, .chat, .batch] : [.stream, .stream, .batch]
                let kind = kinds.randomElement(using: &random) ?? .stream
                var turn = PlannedTurn(
                    index: index + position, kind: kind,
                    message: Self.message(index + position, using: &random),
                    maxTokens: Int.random(in: tokens, using: &random),
                    temperature: Double.random(in: 0...1.2, using: &random), seed: random.next() >> 11,
                    isEager: position > 0 && Int.random(in: 0..<3, using: &random) == 0)
                if kind == .stream {
                    // What a cancelled turn had said is history too: so it comes last, as a chat.
                    if position == length - 1, Int.random(in: 0..<4, using: &random) == 0 {
                        turn.cancelledAfter = Int.random(in: 0..<turn.maxTokens, using: &random)
                    }
                    turn.isReplayed = Int.random(in: 0..<4, using: &random) == 0
                }
                return turn
            }
            index += length
            conversations.append((random.duration(0...max(0.001, span / .seconds(1))), planned))
        }
        self.conversations = conversations.enumerated().map {
            PlannedConversation(index: $0.offset, start: $0.element.start, turns: $0.element.turns)
        }
    }

    private static func message(_ index: Int, using random: inout SeededGenerator) -> String {
        let subjects = [
            "a lighthouse", "the sea", "東京", "a clockmaker 🕰️", "prime numbers", "an old map", "Zürich", "rain",
        ]
        let forms = ["Tell me about", "Write a story about", "What do you know of", "Explain"]
        return
            "(\(index)) \(forms.randomElement(using: &random) ?? "") \(subjects.randomElement(using: &random) ?? "")."
    }
}
