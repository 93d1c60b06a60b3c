/// What a person at a keyboard does.
enum Key: Sendable, Equatable {
    case character(Character)
    /// Pasted as a whole: its line feeds are text.
    case paste(String)
    case enter
    case newline
    case backspace, delete
    case left, right, wordLeft, wordRight, home, end
    case up, down
    case killToEnd, killToStart, killWord
    case clearScreen
    case interrupt, endOfInput, suspend
}

/// Turns the bytes of a terminal (or of a pipe) into keys, in whatever pieces they come. A pure state machine.
struct KeyDecoder {
    /// Bytes of a paste, and of an escape sequence, at most; what is longer is cut, and its end is still found.
    static let maximumPasteBytes = 1 << 20
    private static let maximumSequenceBytes = 16

    private enum State {
        case plain
        /// The bytes of an unfinished UTF-8 scalar.
        case scalar([UInt8], missing: Int)
        case escape
        case sequence([UInt8])
        /// ESC O, and then one letter.
        case application
        /// So many bytes of its end mark have come.
        case paste(ended: Int)
    }

    private static let pasteEnd = Array("\u{1B}[201~".utf8)

    private let isTerminal: Bool
    private var state = State.plain
    /// What has come of an unfinished paste.
    private var pasted: [UInt8] = []

    /// - Parameter isTerminal: in a pipe a line feed ends a line and nothing is an escape sequence.
    init(isTerminal: Bool) { self.isTerminal = isTerminal }

    mutating func feed(_ bytes: some Sequence<UInt8>) -> [Key] {
        var keys: [Key] = []
        for byte in bytes { if let key = take(byte) { keys.append(key) } }
        return keys
    }

    private mutating func take(_ byte: UInt8) -> Key? {
        switch state {
        case .plain: return plain(byte)
        case .scalar(var bytes, let missing):
            guard byte & 0xC0 == 0x80 else {
                state = .plain
                return plain(byte)  // the broken scalar is dropped
            }
            bytes.append(byte)
            guard missing == 1 else {
                state = .scalar(bytes, missing: missing - 1)
                return nil
            }
            state = .plain
            return String(validating: bytes, as: UTF8.self)?.first.map(Key.character)
        case .escape: return afterEscape(byte)
        case .application:
            state = .plain
            return KeyDecoder.cursorKey(byte)
        case .sequence(var bytes):
            bytes.append(byte)
            guard (0x40...0x7E).contains(byte) else {
                state = bytes.count < KeyDecoder.maximumSequenceBytes ? .sequence(bytes) : .plain
                return nil
            }
            state = .plain
            if bytes.elementsEqual("200~".utf8) { state = .paste(ended: 0) }
            return KeyDecoder.key(ofSequence: bytes)
        case .paste(let ended): return paste(byte, ended)
        }
    }

    private mutating func paste(_ byte: UInt8, _ ended: Int) -> Key? {
        let mark = KeyDecoder.pasteEnd
        guard byte == mark[ended] else {
            // What looked like the mark was text. An escape stands in the mark at its beginning only.
            keep(mark[..<ended])
            if byte == mark[0] {
                state = .paste(ended: 1)
            } else {
                keep([byte])
                state = .paste(ended: 0)
            }
            return nil
        }
        guard ended == mark.count - 1 else {
            state = .paste(ended: ended + 1)
            return nil
        }
        state = .plain
        let text = String(decoding: pasted, as: UTF8.self)
        pasted = []
        return .paste(text.replacing("\r\n", with: "\n").replacing("\r", with: "\n"))
    }

    private mutating func keep(_ bytes: some Collection<UInt8>) {
        pasted += bytes.prefix(KeyDecoder.maximumPasteBytes - pasted.count)
    }

    private mutating func plain(_ byte: UInt8) -> Key? {
        switch byte {
        case 0x80...:
            let missing = byte & 0xE0 == 0xC0 ? 1 : byte & 0xF0 == 0xE0 ? 2 : byte & 0xF8 == 0xF0 ? 3 : 0
            if missing > 0 { state = .scalar([byte], missing: missing) }
            return nil
        case 0x20..<0x7F: return .character(Character(Unicode.Scalar(byte)))
        case 0x09: return .character(isTerminal ? " " : "\t")
        case 0x0A: return isTerminal ? .newline : .enter
        case _ where !isTerminal: return nil
        case 0x1B:
            state = .escape
            return nil
        default: return KeyDecoder.controls[byte]
        }
    }

    private static let controls: [UInt8: Key] = [
        0x01: .home, 0x02: .left, 0x03: .interrupt, 0x04: .endOfInput, 0x05: .end, 0x06: .right, 0x08: .backspace,
        0x0B: .killToEnd, 0x0C: .clearScreen, 0x0D: .enter, 0x0E: .down, 0x10: .up, 0x15: .killToStart,
        0x17: .killWord, 0x1A: .suspend, 0x7F: .backspace,
    ]

    private mutating func afterEscape(_ byte: UInt8) -> Key? {
        state = .plain
        switch byte {
        case UInt8(ascii: "["): state = .sequence([])
        case UInt8(ascii: "O"): state = .application
        case 0x1B: state = .escape
        case UInt8(ascii: "b"): return .wordLeft
        case UInt8(ascii: "f"): return .wordRight
        case 0x0D, 0x0A: return .newline
        case 0x7F, 0x08: return .killWord
        default: break
        }
        return nil
    }

    private static func cursorKey(_ letter: UInt8) -> Key? {
        switch letter {
        case UInt8(ascii: "A"): .up
        case UInt8(ascii: "B"): .down
        case UInt8(ascii: "C"): .right
        case UInt8(ascii: "D"): .left
        case UInt8(ascii: "H"): .home
        case UInt8(ascii: "F"): .end
        default: nil
        }
    }

    private static func key(ofSequence bytes: [UInt8]) -> Key? {
        switch String(decoding: bytes, as: UTF8.self) {
        case "1~", "7~": .home
        case "4~", "8~": .end
        case "3~": .delete
        case "1;5D", "1;3D": .wordLeft
        case "1;5C", "1;3C": .wordRight
        default: bytes.count == 1 ? cursorKey(bytes[0]) : nil
        }
    }
}
