/// Philox4x32-10, a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
///
/// The random number of a token is a pure function of (seed, output index): a token that is computed again after a preemption or
/// on another node draws the same number, whatever ran in between.
enum Philox {
    /// 64 uniform bits for the token with this output index.
    static func bits(seed: UInt64, outputIndex: UInt64) -> UInt64 {
        let block = block(
            counter: SIMD4(
                UInt32(truncatingIfNeeded: outputIndex), UInt32(truncatingIfNeeded: outputIndex >> 32), 0, 0),
            key: SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
        return UInt64(block[0]) | UInt64(block[1]) << 32
    }

    /// Ten rounds over one counter.
    static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
        var c = counter
        var k = key
        for _ in 0..<10 {
            let p0 = UInt64(0xD251_1F53) * UInt64(c[0])
            let p1 = UInt64(0xCD9E_8D57) * UInt64(c[2])
            c = SIMD4(
                UInt32(truncatingIfNeeded: p1 >> 32) ^ c[1] ^ k[0], UInt32(truncatingIfNeeded: p1),
                UInt32(truncatingIfNeeded: p0 >> 32) ^ c[3] ^ k[1], UInt32(truncatingIfNeeded: p0))
            k = k &+ SIMD2(0x9E37_79B9, 0xBB67_AE85)
        }
        return c
    }
}
