/// Valid UTF-8 read scalar by scalar at byte positions, each with its class.
struct ClassifiedText {
    let bytes: UnsafeRawBufferPointer
    /// Byte position where the text ends for a pattern, at most `bytes.count`.
    let end: Int

    struct Scalar {
        let value: UInt32
        /// Bytes.
        let length: Int
        let kind: ScalarClass

        var isNewline: Bool { value == 0x0A || value == 0x0D }

        func `is`(_ kinds: ScalarClass) -> Bool { kinds.contains(kind) }
    }

    /// The scalar that starts at `position`.
    subscript(position: Int) -> Scalar {
        guard position < end else { return Scalar(value: .max, length: 0, kind: .end) }
        let first = bytes[position]
        if first < 0x80 { return Scalar(value: UInt32(first), length: 1, kind: ScalarClass.of(ascii: first)) }
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        var value = UInt32(first) & (length == 2 ? 0x1F : length == 3 ? 0x0F : 0x07)
        // Valid UTF-8 by contract; the min is for the reader who wonders.
        for index in position + 1..<min(position + length, end) {
            value = value << 6 | UInt32(bytes[index] & 0x3F)
        }
        return Scalar(value: value, length: min(length, end - position), kind: ScalarClass.of(value))
    }

    /// Where the scalars of these classes end that begin at `start`, at most `limit` of them.
    func run(of kinds: ScalarClass, _ start: Int, limit: Int = .max) -> Int {
        var position = start
        var count = 0
        while count < limit {
            let scalar = self[position]
            guard scalar.is(kinds) else { break }
            position += scalar.length
            count += 1
        }
        return position
    }

    /// `\s+(?!\S)|\s+`: all of a run at the end of the text, else all but its last scalar, if there are two. Nil where
    /// no whitespace is.
    func whitespaceRun(_ start: Int) -> Int? {
        var position = start
        var last = start
        while self[position].is(.whitespace) {
            last = position
            position += self[position].length
        }
        guard position > start else { return nil }
        return self[position].is(.end) || last == start ? position : last
    }

    /// `\s*[\r\n]+`: to the last newline of the run of whitespace.
    func lastNewline(_ start: Int) -> Int? {
        var position = start
        var end: Int?
        while true {
            let scalar = self[position]
            guard scalar.is(.whitespace) else { return end }
            position += scalar.length
            if scalar.isNewline { end = position }
        }
    }

    enum Case {
        case sensitive
        /// `[sS]`
        case ascii
        /// `(?i:s)`, which U+017F matches too: its simple case folding is s.
        case folded
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe.
    func contraction(_ start: Int, _ sensitivity: Case) -> Int? {
        guard start < end, bytes[start] == 0x27 else { return nil }
        func letter(_ index: Int) -> UInt8 {
            guard index < end else { return 0 }
            let byte = bytes[index]
            return sensitivity != .sensitive && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
        }
        switch (letter(start + 1), letter(start + 2)) {
        case (UInt8(ascii: "s"), _), (UInt8(ascii: "t"), _), (UInt8(ascii: "m"), _), (UInt8(ascii: "d"), _):
            return start + 2
        case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
            (UInt8(ascii: "l"), UInt8(ascii: "l")):
            return start + 3
        case (0xC5, 0xBF) where sensitivity == .folded: return start + 3
        default:
            return nil
        }
    }
}
