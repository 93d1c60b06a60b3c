/// splitmix64: a failing test repeats from its seed.
struct RandomNumbers: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Roughly normal, mean 0, the given deviation.
    mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
        (0..<count).map { _ in
            let sum = (0..<4).reduce(Float(0)) { total, _ in total + Float.random(in: -1...1, using: &self) }
            return sum * scale * 0.866
        }
    }
}
