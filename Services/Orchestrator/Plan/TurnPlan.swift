import ChatCore
import Foundation

/// What a turn's first holder decided, kept in the turn's record and never changed: whoever goes on with the turn sends
/// these very ids, whatever has become of the history meanwhile.
struct TurnPlan: Codable, Equatable, Sendable {
    static let formatVersion = 1

    var version = TurnPlan.formatVersion
    let prompt: [Int32]
    /// `max_tokens`, cut to what the context window leaves.
    let maxTokens: Int
    /// Earlier turns of the conversation that the prompt holds, and those left out for want of room.
    let historyTurns: Int
    let droppedTurns: Int
    /// Only nodes of this id may generate the turn: others would give other tokens.
    var numericsID: String?

    func encoded() throws -> [UInt8] { Array(try JSONEncoder().encode(self)) }

    init(decoding bytes: [UInt8]) throws {
        self = try JSONDecoder().decode(TurnPlan.self, from: Data(bytes))
        guard version == TurnPlan.formatVersion, !prompt.isEmpty, maxTokens > 0,
            [maxTokens, historyTurns, droppedTurns].allSatisfy(WireBounds.counts.contains)
        else {
            throw DecodingError.dataCorrupted(.init(codingPath: [], debugDescription: "not a plan of this version"))
        }
    }

    init(prompt: [Int32], maxTokens: Int, historyTurns: Int, droppedTurns: Int) {
        self.prompt = prompt
        self.maxTokens = maxTokens
        self.historyTurns = historyTurns
        self.droppedTurns = droppedTurns
    }
}
