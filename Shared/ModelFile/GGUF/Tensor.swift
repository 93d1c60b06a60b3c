/// Where a tensor lies in its file and what shape it has. Made by `GGUFFile`, which has checked all of it.
public struct Tensor: Sendable, Equatable {
    public let name: String
    /// In ggml's order, the fastest first: a matrix that maps K inputs to N outputs is `[K, N]`, N rows of K numbers.
    /// One to four, each at least 1.
    public let dimensions: [Int]
    public let type: TensorType
    /// Byte offset from the start of the file; in a GGUF file a multiple of its alignment, in a safetensors file anything.
    public let offset: UInt64
    /// Bytes of all rows together.
    public let byteCount: Int

    /// How many numbers it holds.
    public var elementCount: Int { byteCount / type.bytesPerBlock * type.blockSize }
}
