import SeededRandom

extension SeededGenerator {
    /// Text of the scalars that pre-tokenizers tell apart, and some of any kind.
    mutating func text(length: Int) -> String {
        let notable = Array("ab'sSllveT 1 29\n\r\t .,!<|>é½²日本🙂\u{301}\u{A0}\u{3000}\u{200D}ĠÄ".unicodeScalars)
        var text = String.UnicodeScalarView()
        for _ in 0..<length {
            if Int.random(in: 0..<8, using: &self) > 0 {
                text.append(notable[Int.random(in: 0..<notable.count, using: &self)])
            } else if let scalar = Unicode.Scalar(UInt32.random(in: 0..<0x11_0000, using: &self)) {
                text.append(scalar)
            }
        }
        return String(text)
    }
}
