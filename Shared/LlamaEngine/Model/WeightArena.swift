import CKernels
import ModelFile

/// All weights of a model in one piece of memory, repacked for the kernels.
///
/// `@unchecked Sendable`: the memory is written only by ``LlamaModel``'s initializer, before the model is shared.
final class WeightArena: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let byteCount: Int
    private var used = 0

    /// Rounds up to the 64 bytes that panels start at.
    static func aligned(_ bytes: Int) -> Int { (bytes + 63) & ~63 }

    init(byteCount: Int) throws(ModelError) {
        // Weights are prefetched a few kilobytes ahead of use; past the end that must still be ours.
        let padded = byteCount + (1 << 16)
        guard let memory = ck_map(padded) else {
            throw ModelError(field: "weights", reason: "no memory for \(padded) bytes")
        }
        base = memory
        self.byteCount = padded
    }

    deinit { ck_unmap(base, byteCount) }

    func take(_ bytes: Int) throws(ModelError) -> UnsafeMutableRawPointer {
        guard bytes <= byteCount - used else {
            throw ModelError(field: "weights", reason: "the layout takes more than the \(byteCount) bytes planned")
        }
        defer { used += Self.aligned(bytes) }
        return base + used
    }
}
