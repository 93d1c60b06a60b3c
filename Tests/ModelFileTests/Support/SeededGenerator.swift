/// SplitMix64 (Steele et al.): the same numbers for the same seed, so that a failing case can be run again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }

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
