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
    /// Tokens that prompt and answer could have together, where that took something off: the model's context, or what the
    /// living nodes could hold.
    let room: Int?
    /// Tokens of the shortest prompt that there could be, and one of an answer.
    let shortest: Int?
    /// Only nodes of this id may generate the turn: others would give other tokens.
    var numericsID: String?

    /// Says what the plan took off the turn for want of room.
    func tell(of turn: Turn, in degradation: inout Turn.Degradation) {
        guard let room else { return }
        if maxTokens < turn.sampling.maxTokens, degradation.requestedMaxTokens == nil {
            degradation.requestedMaxTokens = turn.sampling.maxTokens
        }
        if droppedTurns > 0 { degradation.contextTokens = min(degradation.contextTokens ?? room, room) }
    }

    func encoded() throws -> [UInt8] { Array(try JSONEncoder().encode(self)) }

    init(decoding bytes: [UInt8]) throws {
        self = try JSONDecoder().decode(TurnPlan.self, from: Data(bytes))
        guard version == TurnPlan.formatVersion, !prompt.isEmpty, maxTokens > 0,
            [maxTokens, historyTurns, droppedTurns].allSatisfy(WireBounds.counts.contains)
        else {
            throw DecodingError.dataCorrupted(.init(codingPath: [], debugDescription: "not a plan of this version"))
        }
    }

    /// Tokens that a node has to hold for it: prompt and answer.
    var tokens: Int {
        let (sum, overflow) = prompt.count.addingReportingOverflow(maxTokens)
        return overflow ? .max : sum
    }

    init(
        prompt: [Int32], maxTokens: Int, historyTurns: Int, droppedTurns: Int, room: Int? = nil, shortest: Int? = nil
    ) {
        self.prompt = prompt
        self.maxTokens = maxTokens
        self.historyTurns = historyTurns
        self.droppedTurns = droppedTurns
        self.room = room
        self.shortest = shortest
    }
}
