import CKernels
import COpenBLAS

/// Full-precision matrices through OpenBLAS, and the test whether that keeps the numerics contract here.
enum OpenBLASBackend {
    /// One call of `cblas_sgemm`, as the kernels call it.
    static let sgemm: ck_sgemm = { order, transposeA, transposeB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc in
        cblas_sgemm(
            CBLAS_ORDER(rawValue: UInt32(order)), CBLAS_TRANSPOSE(rawValue: UInt32(transposeA)),
            CBLAS_TRANSPOSE(rawValue: UInt32(transposeB)), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
    }

    /// Version and kernel set, chosen by OpenBLAS when the library loads: part of the numerics id.
    static var name: String {
        let configuration = openblas_get_config().map { String(cString: $0) } ?? "unknown"
        let core = openblas_get_corename().map { String(cString: $0) } ?? "unknown"
        return "\(configuration) on \(core)"
    }

    /// The engine's threads call it side by side; it must not start threads of its own.
    static func useOneThread() { openblas_set_num_threads(1) }

    struct Shape: Hashable {
        var outputs: Int
        var inputs: Int
    }

    /// Whether each row's result has the same bits at every row count the engine uses (1...CK_TILE), wherever it stands among the
    /// rows. Tested on random numbers for each shape that is called.
    static func isRowInvariant(_ shapes: Set<Shape>) -> Bool {
        let tile = Int(CK_TILE)
        return shapes.allSatisfy { shape in
            var generator = SplitMix(state: UInt64(shape.outputs) << 32 | UInt64(shape.inputs))
            let rows = (0..<tile * shape.inputs).map { _ in generator.nextFloat() }
            let weights = (0..<shape.outputs * shape.inputs).map { _ in generator.nextFloat() }
            func multiply(first: Int, count: Int) -> [Float] {
                var out = [Float](repeating: 0, count: count * shape.outputs)
                rows.withUnsafeBufferPointer { x in
                    sgemm(
                        101, 111, 112, Int32(count), Int32(shape.outputs), Int32(shape.inputs), 1,
                        x.baseAddress.map { $0 + first * shape.inputs }, Int32(shape.inputs), weights,
                        Int32(shape.inputs), 0, &out,
                        Int32(shape.outputs))
                }
                return out
            }
            let alone = (0..<tile).flatMap { multiply(first: $0, count: 1) }.map(\.bitPattern)
            return (1...tile).allSatisfy { count in
                multiply(first: 0, count: count).map(\.bitPattern) == Array(alone[..<(count * shape.outputs)])
            }
        }
    }

    /// splitmix64 (Steele, Lea and Flood, 2014).
    private struct SplitMix {
        var state: UInt64
        mutating func nextFloat() -> Float {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return Float(Int32(truncatingIfNeeded: z >> 40)) / Float(1 << 23) - 1
        }
    }
}
