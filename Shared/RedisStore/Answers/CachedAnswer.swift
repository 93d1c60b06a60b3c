import ChatCore
import ServiceKit

/// A whole answer, kept for identical requests: token ids, from which its text and its events follow.
public struct CachedAnswer: Sendable, Equatable {
    /// The turn whose answer it is.
    public let turn: TurnID
    /// What computed it: only nodes of this id would come to the same tokens.
    public let numericsID: String
    /// SHA-256 of the prompt's token ids. The key was made of what was known at accept; this is what was generated from.
    public let promptDigest: [UInt8]
    public let tokens: [Int32]
    public let finishReason: TurnOutcome.FinishReason

    public init(
        turn: TurnID, numericsID: String, prompt: [Int32], tokens: [Int32], finishReason: TurnOutcome.FinishReason
    ) {
        self.turn = turn
        self.numericsID = numericsID
        promptDigest = CachedAnswer.digest(of: prompt)
        self.tokens = tokens
        self.finishReason = finishReason
    }

    /// Whether the answer is that of a turn with this prompt.
    public func answers(prompt: [Int32]) -> Bool { promptDigest == CachedAnswer.digest(of: prompt) }

    private static func digest(of prompt: [Int32]) -> [UInt8] {
        var digest = FieldDigest()
        digest.add(prompt)
        return digest.finalized()
    }
}

extension CachedAnswer {
    /// Longer answers are not kept: all tokens of a cached one are logged in one entry.
    public static let maximumTokens = 8192

    private static let magic: UInt8 = 0xB3
    private static let digestBytes = 32

    /// Little-endian: magic, the turn's id, numerics id, digest, reason (0 stop, 1 length), count, token ids. nil for an
    /// answer that did not end by itself.
    func encoded() -> [UInt8]? {
        guard finishReason == .stop || finishReason == .length, (1...CachedAnswer.maximumTokens).contains(tokens.count)
        else {
            return nil
        }
        var writer = ByteWriter()
        writer.bytes.reserveCapacity(64 + numericsID.utf8.count + tokens.count * 4)
        writer.put(CachedAnswer.magic)
        writer.put(turn.high)
        writer.put(turn.low)
        writer.put(text: numericsID)
        writer.bytes += promptDigest
        writer.put(UInt8(finishReason == .stop ? 0 : 1))
        writer.put(UInt32(clamping: tokens.count))
        for token in tokens { writer.put(token) }
        return writer.bytes
    }

    /// - Throws: `WireError` naming the field; nothing is allocated beyond the size of the bytes.
    init(decoding bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        guard try reader.get(UInt8.self, "magic") == CachedAnswer.magic else { throw WireError(field: "magic") }
        guard let turn = TurnID(high: try reader.get(UInt64.self, "turn"), low: try reader.get(UInt64.self, "turn"))
        else { throw WireError(field: "turn") }
        self.turn = turn
        numericsID = try reader.getText("numerics id")
        var digest: [UInt8] = []
        for _ in 0..<CachedAnswer.digestBytes { digest.append(try reader.get(UInt8.self, "digest")) }
        promptDigest = digest
        switch try reader.get(UInt8.self, "reason") {
        case 0: finishReason = .stop
        case 1: finishReason = .length
        default: throw WireError(field: "reason")
        }
        var tokens: [Int32] = []
        for _ in 0..<(try reader.get(UInt32.self, "tokens")) { tokens.append(try reader.get(Int32.self, "token")) }
        guard reader.isAtEnd, (1...CachedAnswer.maximumTokens).contains(tokens.count) else {
            throw WireError(field: "tokens")
        }
        self.tokens = tokens
    }
}
