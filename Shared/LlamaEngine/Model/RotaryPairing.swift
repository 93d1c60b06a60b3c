/// Which elements of a head are rotated together.
public enum RotaryPairing: Sendable, Equatable {
    /// 2i and 2i + 1: RoFormer's own, and GGUF's `llama`, whose converters reorder the rows of queries and keys.
    case neighbours
    /// i and i + n/2 of the n rotated ones (GPT-NeoX): GGUF's other architectures, and every model of Hugging Face.
    case halves
}
