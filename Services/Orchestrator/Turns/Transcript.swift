import ChatCore
import ModelFile
import RedisStore

/// A turn's tokens so far and their text: a pure function of the token ids, so that every holder of the turn arrives at
/// the same events.
struct Transcript {
    private(set) var ids: [Int32] = []
    private(set) var text = ""
    /// For each token the number of UTF-8 bytes of `text` up to and including it.
    private(set) var ends: [Int] = []
    private var assembler: TextAssembler

    /// What one id counts for when it is asked how long work on many takes.
    static let idBytes = 8

    var next: Int { ids.count }
    /// A stop string was completed; the text ends before it.
    var hasStopped: Bool { assembler.stopped }

    init(tokenizer: Tokenizer, stop: [String], logged: [TurnLog.Token] = []) {
        assembler = TextAssembler(tokenizer: tokenizer, stop: stop)
        for token in logged { _ = append(token.id, isLast: false) }
        // What is logged is what clients have seen: were the assembler's text ever to differ, the log would be right.
        guard logged.map(\.text).joined() != text else { return }
        text = ""
        ends = []
        for token in logged {
            text += token.text
            ends.append(text.utf8.count)
        }
    }

    /// Takes the ids beyond those it has, and gives the tokens from index `first` on, as they are logged. When `isFinal` is
    /// set the last one also brings what the assembler had held back.
    mutating func extend(to ids: [Int32], isFinal: Bool, from first: Int) -> [TurnLog.Token] {
        let start = next
        let new = ids.dropFirst(start).enumerated().map { offset, id in
            append(id, isLast: isFinal && start + offset == ids.count - 1)
        }
        return first == start ? new : tokens(from: first)
    }

    /// The tokens from index `first` on, as they were logged.
    func tokens(from first: Int) -> [TurnLog.Token] {
        let bytes = Array(text.utf8)
        return (first..<ids.count).map { index in
            let start = index == 0 ? 0 : ends[index - 1]
            return TurnLog.Token(id: ids[index], text: String(decoding: bytes[start..<ends[index]], as: UTF8.self))
        }
    }

    private mutating func append(_ id: Int32, isLast: Bool) -> TurnLog.Token {
        var piece = assembler.append(id)
        if isLast { piece += assembler.finish() }
        ids.append(id)
        text += piece
        ends.append(text.utf8.count)
        return TurnLog.Token(id: id, text: piece)
    }
}
