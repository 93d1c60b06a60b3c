import CKernels

/// What keys and values are stored as in the KV cache; part of the numerics id.
public enum KVType: String, Sendable, CaseIterable {
    case f16, bf16

    var format: ck_format {
        switch self {
        case .f16: CK_F16
        case .bf16: CK_BF16
        }
    }

    /// Bytes of one head in one block: the keys, then the values of 16 tokens.
    func headBytes(_ headSize: Int) -> Int {
        switch self {
        case .f16, .bf16: 2 * StepBatch.blockSize * headSize * MemoryLayout<UInt16>.size
        }
    }
}
