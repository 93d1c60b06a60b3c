/// What a node sends to one orchestrator after one engine step: the new tokens of all its turns, in one write.
public struct TokenBatch: Sendable, Equatable {
    /// The tokens of one turn, and how its generation ended if it did.
    public struct Item: Sendable, Equatable {
        public let turn: TurnID
        public let epoch: Int64
        public let attempt: Int
        /// Index of `tokens[0]` in the turn.
        public let first: Int
        public let tokens: [Int32]
        public let end: End?
        /// Microseconds from the engine's hearing of the job to its first token, sent with that token.
        public let timeToFirstToken: Int64?

        public init(
            turn: TurnID, epoch: Int64, attempt: Int, first: Int, tokens: [Int32], end: End?, timeToFirstToken: Int64?
        ) {
            self.turn = turn
            self.epoch = epoch
            self.attempt = attempt
            self.first = first
            self.tokens = tokens
            self.end = end
            self.timeToFirstToken = timeToFirstToken
        }
    }

    public struct End: Sendable, Equatable {
        public enum Kind: UInt8, Sendable {
            case stop = 0
            case length = 1
            case cancelled = 2
            /// The job can never run anywhere like this (too long, a token outside the vocabulary).
            case refused = 3
            /// This node has no room or is leaving: another may.
            case unavailable = 4
            /// Generation failed (a non-finite logit, a resumed token that came out otherwise).
            case failed = 5
        }
        public let kind: Kind
        public let reason: String

        public init(_ kind: Kind, reason: String = "") {
            self.kind = kind
            self.reason = reason
        }
    }

    public let node: String
    public let items: [Item]

    public init(node: String, items: [Item]) {
        self.node = node
        self.items = items
    }
}

extension TokenBatch {
    private static let magic: UInt8 = 0xB1

    /// A compact little-endian form: a step of 32 sequences fits one small packet, and no JSON is parsed per token.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.bytes.reserveCapacity(16 + items.count * 56)
        writer.put(TokenBatch.magic)
        writer.put(text: node)
        writer.put(UInt32(clamping: items.count))
        for item in items {
            writer.put(item.turn.high)
            writer.put(item.turn.low)
            writer.put(item.epoch)
            writer.put(Int32(clamping: item.attempt))
            writer.put(Int32(clamping: item.first))
            writer.put(item.timeToFirstToken ?? -1)
            writer.put(UInt32(clamping: item.tokens.count))
            for token in item.tokens { writer.put(token) }
            if let end = item.end {
                writer.put(end.kind.rawValue)
                writer.put(text: end.reason)
            } else {
                writer.put(UInt8.max)
            }
        }
        return writer.bytes
    }

    /// - Throws: `WireError` when the bytes are no batch; nothing is allocated beyond the size of the bytes.
    public init(decoding bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        guard try reader.get(UInt8.self, "magic") == TokenBatch.magic else { throw WireError(field: "magic") }
        node = try reader.getText("node")
        var items: [Item] = []
        for _ in 0..<(try reader.get(UInt32.self, "items")) {
            guard
                let turn = TurnID(
                    high: try reader.get(UInt64.self, "turn"), low: try reader.get(UInt64.self, "turn"))
            else { throw WireError(field: "turn") }
            let epoch = try reader.get(Int64.self, "epoch")
            let attempt = Int(try reader.get(Int32.self, "attempt"))
            let first = Int(try reader.get(Int32.self, "first"))
            guard first >= 0 else { throw WireError(field: "first") }
            let time = try reader.get(Int64.self, "time to first token")
            var tokens: [Int32] = []
            for _ in 0..<(try reader.get(UInt32.self, "tokens")) { tokens.append(try reader.get(Int32.self, "token")) }
            let endByte = try reader.get(UInt8.self, "end")
            var end: End?
            if endByte != .max {
                guard let kind = End.Kind(rawValue: endByte) else { throw WireError(field: "end") }
                end = End(kind, reason: try reader.getText("reason"))
            }
            items.append(
                Item(
                    turn: turn, epoch: epoch, attempt: attempt, first: first, tokens: tokens, end: end,
                    timeToFirstToken: time < 0 ? nil : time))
        }
        guard reader.isAtEnd else { throw WireError(field: "length") }
        self.items = items
    }
}
