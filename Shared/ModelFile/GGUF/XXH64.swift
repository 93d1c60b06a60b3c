/// The 64-bit hash XXH64 with seed 0 (Yann Collet, "xxHash fast digest algorithm", version 0.1.1, the public
/// specification): four lanes over stripes of 32 bytes, then a finish that mixes in the length and the tail.
struct XXH64 {
    private static let primes: (UInt64, UInt64, UInt64, UInt64, UInt64) = (
        0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63,
        0x27D4_EB2F_1656_67C5
    )
    /// Bytes hashed before their pages are given back, so that hashing a file of any size keeps little of it resident.
    private static let window = 8 << 20

    private var lanes: (UInt64, UInt64, UInt64, UInt64)

    private init() {
        lanes = (Self.primes.0 &+ Self.primes.1, Self.primes.1, 0, 0 &- Self.primes.0)
    }

    static func digest(of file: MappedFile) -> UInt64 {
        var state = XXH64()
        let stripes = file.bytes.count & ~31
        var start = 0
        while start < stripes {
            let end = min(start + window, stripes)
            state.absorb(UnsafeRawBufferPointer(rebasing: file.bytes[start..<end]))
            file.releasePages(start..<end)
            start = end
        }
        return state.finish(
            length: file.bytes.count, tail: UnsafeRawBufferPointer(rebasing: file.bytes[stripes...]))
    }

    static func digest(of bytes: UnsafeRawBufferPointer) -> UInt64 {
        var state = XXH64()
        let stripes = bytes.count & ~31
        state.absorb(UnsafeRawBufferPointer(rebasing: bytes[..<stripes]))
        return state.finish(length: bytes.count, tail: UnsafeRawBufferPointer(rebasing: bytes[stripes...]))
    }

    /// Absorbs a multiple of 32 bytes.
    private mutating func absorb(_ bytes: UnsafeRawBufferPointer) {
        // Locals, so that the loop keeps the lanes in registers.
        var (a, b, c, d) = lanes
        var offset = 0
        while offset < bytes.count {
            a = Self.round(a, Self.word(bytes, offset))
            b = Self.round(b, Self.word(bytes, offset + 8))
            c = Self.round(c, Self.word(bytes, offset + 16))
            d = Self.round(d, Self.word(bytes, offset + 24))
            offset += 32
        }
        lanes = (a, b, c, d)
    }

    private func finish(length: Int, tail: UnsafeRawBufferPointer) -> UInt64 {
        let (p1, p2, p3, p4, p5) = Self.primes
        var hash = p5
        if length >= 32 {
            hash = Self.rotate(lanes.0, 1) &+ Self.rotate(lanes.1, 7)
            hash = hash &+ Self.rotate(lanes.2, 12) &+ Self.rotate(lanes.3, 18)
            for lane in [lanes.0, lanes.1, lanes.2, lanes.3] {
                hash = (hash ^ Self.round(0, lane)) &* p1 &+ p4
            }
        }
        hash = hash &+ UInt64(length)
        var offset = 0
        while offset + 8 <= tail.count {
            hash = Self.rotate(hash ^ Self.round(0, Self.word(tail, offset)), 27) &* p1 &+ p4
            offset += 8
        }
        if offset + 4 <= tail.count {
            let word = UInt64(UInt32(littleEndian: tail.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            hash = Self.rotate(hash ^ (word &* p1), 23) &* p2 &+ p3
            offset += 4
        }
        for byte in tail[offset...] {
            hash = Self.rotate(hash ^ (UInt64(byte) &* p5), 11) &* p1
        }
        hash = (hash ^ (hash >> 33)) &* p2
        hash = (hash ^ (hash >> 29)) &* p3
        return hash ^ (hash >> 32)
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        rotate(lane &+ word &* primes.1, 31) &* primes.0
    }

    @inline(__always)
    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
        (value << count) | (value >> (64 - count))
    }
}
