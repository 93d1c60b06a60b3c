/// The alphabet of byte-level BPE (GPT-2): each byte is written as one printable character, so that vocabularies can be
/// text files. Bytes that are printable Latin-1 stand for themselves, the 68 others take U+0100 and up, in order.
struct ByteAlphabet {
    static let shared = ByteAlphabet()

    /// Index is the code point, value the byte, -1 for none.
    private let byteOfCodePoint: [Int16]

    init() {
        var table = [Int16](repeating: -1, count: 0x144)
        var next = 0x100
        for byte in 0..<256 {
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: table[byte] = Int16(byte)
            default:
                table[next] = Int16(byte)
                next += 1
            }
        }
        byteOfCodePoint = table
    }

    /// Appends the bytes that `text` (UTF-8) stands for. False when a character is none of the alphabet's; then
    /// `output` is as it was.
    func decode(_ text: some Collection<UInt8>, into output: inout [UInt8]) -> Bool {
        let start = output.count
        var rest = text.makeIterator()
        while let first = rest.next() {
            var codePoint = Int(first)
            if codePoint >= 0x80 {
                // All of the alphabet beyond ASCII takes two bytes: 110xxxxx 10xxxxxx.
                guard codePoint & 0xE0 == 0xC0, let second = rest.next(), second & 0xC0 == 0x80 else {
                    output.removeLast(output.count - start)
                    return false
                }
                codePoint = (codePoint & 0x1F) << 6 | Int(second & 0x3F)
            }
            guard codePoint < byteOfCodePoint.count, byteOfCodePoint[codePoint] >= 0 else {
                output.removeLast(output.count - start)
                return false
            }
            output.append(UInt8(byteOfCodePoint[codePoint]))
        }
        return true
    }
}
