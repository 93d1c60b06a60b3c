import ChatCore
import Foundation

/// An entry of the log, which is also the hint that readers are sent: some tokens, or the end. Where a turn waits is a
/// hint only.
///
/// Little-endian: magic, kind (0 tokens, 1 end, 2 waiting), the turn's id (16 bytes), then for tokens the first index,
/// their count and for each its id and text; for the end the number of tokens and `TurnEnd` as JSON; for waiting the
/// place and the estimate in ms (-1: none).
enum LogEntry {
    case tokens(first: Int, [TurnLog.Token])
    case end(next: Int, TurnEnd)
    case waiting(TurnWait)

    private static let magic: UInt8 = 0xB2

    func encoded(_ turn: TurnID) throws(RedisError) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(LogEntry.magic)
        switch self {
        case .tokens(let first, let tokens):
            writer.bytes.reserveCapacity(32 + tokens.count * 16)
            writer.put(UInt8(0))
            writer.put(turn.high)
            writer.put(turn.low)
            writer.put(Int32(clamping: first))
            writer.put(UInt32(clamping: tokens.count))
            for token in tokens {
                writer.put(token.id)
                writer.put(text: token.text)
            }
        case .end(let next, let end):
            writer.put(UInt8(1))
            writer.put(turn.high)
            writer.put(turn.low)
            writer.put(Int32(clamping: next))
            do { writer.bytes += try JSONEncoder().encode(end) } catch {
                throw .unexpectedReply("a terminal event that cannot be written: \(error)")
            }
        case .waiting(let wait):
            writer.put(UInt8(2))
            writer.put(turn.high)
            writer.put(turn.low)
            writer.put(Int32(clamping: wait.place))
            writer.put(wait.estimate ?? -1)
        }
        return writer.bytes
    }

    /// - Throws: `WireError` naming the field; nothing is allocated beyond the size of the bytes.
    static func decode(_ bytes: [UInt8]) throws(WireError) -> (turn: TurnID, entry: LogEntry) {
        var reader = ByteReader(bytes)
        guard try reader.get(UInt8.self, "magic") == magic else { throw WireError(field: "magic") }
        let kind = try reader.get(UInt8.self, "kind")
        guard let turn = TurnID(high: try reader.get(UInt64.self, "turn"), low: try reader.get(UInt64.self, "turn"))
        else { throw WireError(field: "turn") }
        let index = Int(try reader.get(Int32.self, "index"))
        guard index >= 0 else { throw WireError(field: "index") }
        switch kind {
        case 0:
            var tokens: [TurnLog.Token] = []
            for _ in 0..<(try reader.get(UInt32.self, "tokens")) {
                tokens.append(.init(id: try reader.get(Int32.self, "token"), text: try reader.getText("text")))
            }
            guard reader.isAtEnd, !tokens.isEmpty else { throw WireError(field: "tokens") }
            return (turn, .tokens(first: index, tokens))
        case 1:
            guard let end = try? TurnEnd(message: bytes.dropFirst(headerBytes)) else {
                throw WireError(field: "end")
            }
            return (turn, .end(next: index, end))
        case 2:
            let estimate = try reader.get(Int64.self, "estimate")
            guard reader.isAtEnd else { throw WireError(field: "length") }
            return (turn, .waiting(TurnWait(place: index, estimate: estimate < 0 ? nil : estimate)))
        default:
            throw WireError(field: "kind")
        }
    }

    private static let headerBytes = 1 + 1 + 16 + 4

    /// What clients see of the entry, from token index `from` on.
    func events(from: Int) -> [TurnEvent] {
        switch self {
        case .tokens(let first, let tokens):
            tokens.enumerated().dropFirst(max(0, from - first)).map { offset, token in
                .token(index: first + offset, text: token.text)
            }
        case .end(let next, let end): [.end(next: next, end)]
        case .waiting(let wait): [.waiting(wait)]
        }
    }
}

extension LogEntry {
    /// The entries of an XRANGE reply.
    static func list(_ reply: RedisValue) throws(RedisError) -> [LogEntry] {
        guard let rows = reply.array else { throw .unexpectedReply("the log: \(reply.summary)") }
        var entries: [LogEntry] = []
        entries.reserveCapacity(rows.count)
        for row in rows {
            guard let parts = row.array, parts.count == 2, let fields = parts[1].array, fields.count == 2,
                let bytes = fields[1].data
            else { throw .unexpectedReply("the log's entry: \(row.summary)") }
            do { entries.append(try decode(bytes).entry) } catch {
                throw .unexpectedReply("the log's entry: \(error)")
            }
        }
        return entries
    }
}

extension TurnLog {
    /// Reads a hint from a gateway's channel: the same bytes as the log's entry.
    /// - Throws: `WireError` for bytes that are none; never allocates beyond their size.
    public static func decode(hint: [UInt8]) throws(WireError) -> (turn: TurnID, events: [TurnEvent]) {
        let (turn, entry) = try LogEntry.decode(hint)
        return (turn, entry.events(from: 0))
    }
}
