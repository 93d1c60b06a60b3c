/// The tokens that are matched as a whole in text, and how they cut it.
struct SpecialTokens {
    /// Whitespace that a token takes from the text beside it (`lstrip` and `rstrip` of tokenizer.json).
    struct Strip: OptionSet {
        let rawValue: UInt8
        static let left = Strip(rawValue: 1)
        static let right = Strip(rawValue: 2)
    }

    enum Section {
        case text(Range<Int>)
        case token(Int32)
    }

    private let trie: TokenTrie
    private let strips: [Int32: Strip]

    /// Whether some token takes the whitespace beside it.
    var takeWhitespace: Bool { !strips.isEmpty }

    init(
        _ names: [(token: Int32, bytes: ArraySlice<UInt8>)], strips: [Int32: Strip], field: String
    ) throws(ModelFileError) {
        trie = try TokenTrie(names, field: field)
        self.strips = strips
    }

    /// Cuts a text at the tokens that are wanted where they stand, the leftmost and there the longest first.
    func forEachSection(
        _ text: UnsafeRawBufferPointer, where isWanted: (Int32, Range<Int>) -> Bool, _ body: (Section) -> Void
    ) {
        var start = 0
        var position = 0
        while position < text.count {
            guard let match = trie.match(text, at: position, where: { isWanted($0, position..<$1) }) else {
                position += 1
                continue
            }
            let strip = strips[match.token] ?? []
            let end = strip.contains(.left) ? endOfText(text, start..<position) : position
            if start < end { body(.text(start..<end)) }
            body(.token(match.token))
            position = strip.contains(.right) ? startOfText(text, from: match.end) : match.end
            start = position
        }
        if start < text.count { body(.text(start..<text.count)) }
    }

    /// Where the whitespace at the end of the range begins.
    private func endOfText(_ text: UnsafeRawBufferPointer, _ range: Range<Int>) -> Int {
        let scalars = ClassifiedText(bytes: text, end: range.upperBound)
        var end = range.upperBound
        while end > range.lowerBound {
            var first = end - 1
            while first > range.lowerBound, text[first] & 0xC0 == 0x80 { first -= 1 }
            guard scalars[first].is(.whitespace) else { break }
            end = first
        }
        return end
    }

    private func startOfText(_ text: UnsafeRawBufferPointer, from start: Int) -> Int {
        ClassifiedText(bytes: text, end: text.count).run(of: .whitespace, start)
    }
}
