/// SentencePiece writes a space as U+2581, in tokens and in text. Here both are read back into spaces: then a text needs
/// no copy three times its size, and the U+2581 that a user types is the space that it is for the model.
enum Spaces {
    /// U+2581 in UTF-8.
    static let escaped: [UInt8] = [0xE2, 0x96, 0x81]

    static func appendUnescaped(_ text: some Collection<UInt8>, to output: inout [UInt8]) {
        let start = output.count
        for byte in text {
            output.append(byte)
            guard byte == 0x81, output.count >= start + 3, output.suffix(3).elementsEqual(escaped) else { continue }
            output.removeLast(3)
            output.append(0x20)
        }
    }
}

extension Spaces {
    /// The text as one word, or the words that its spaces begin.
    static func forEachWord(_ text: UnsafeRawBufferPointer, splits: Bool, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard splits else {
            if !text.isEmpty { body(text) }
            return
        }
        var start = 0
        for index in text.indices where text[index] == 0x20 && index > start {
            body(UnsafeRawBufferPointer(rebasing: text[start..<index]))
            start = index
        }
        if start < text.count { body(UnsafeRawBufferPointer(rebasing: text[start...])) }
    }
}
