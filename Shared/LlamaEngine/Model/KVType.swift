import CKernels

/// What keys and values are stored as in the KV cache; part of the numerics id.
public enum KVType: String, Sendable, CaseIterable {
    case f16, bf16
    /// int8 with one F32 scale for each token and head.
    case q8

    var kernels: Int32 {
        switch self {
        case .f16: Int32(CK_KV_F16.rawValue)
        case .bf16: Int32(CK_KV_BF16.rawValue)
        case .q8: Int32(CK_KV_Q8.rawValue)
        }
    }

    /// Bytes of one head in one block: the keys, then the values of 16 tokens.
    func headBytes(_ headSize: Int) -> Int { ck_kv_head_bytes(kernels, Int32(headSize)) }
}
