/// Which elements of a head are rotated together.
public enum RotaryPairing: Sendable, Equatable {
    /// 2i and 2i + 1: RoFormer's own, and GGUF's `llama`, whose converters reorder the rows of queries and keys.
    case neighbours
    /// i and i + n/2 of the n rotated ones (GPT-NeoX): GGUF's other architectures, and every model of Hugging Face.
    case halves
}

/// The order in which the rows that make heads are read from the file, so that pairs become neighbours.
///
/// The kernels rotate neighbours only. Queries, keys, their biases and the weights of their norms are put into the same order at load,
/// and a dot product of two heads does not depend on the order of its elements but for its rounding. So one kernel serves both,
/// and the rotation stays within a vector.
struct RotaryOrder {
    var headSize: Int
    /// Leading elements of a head that are rotated; the others keep their places.
    var rotated: Int

    /// nil where nothing moves.
    init?(_ configuration: LlamaConfiguration) {
        guard configuration.ropePairing == .halves, configuration.ropeDimensions > 2 else { return nil }
        headSize = configuration.headSize
        rotated = configuration.ropeDimensions
    }

    /// The file's row that becomes row `row`.
    func source(of row: Int) -> Int {
        let element = row % headSize
        guard element < rotated else { return row }
        return row - element + element / 2 + (element % 2 == 0 ? 0 : rotated / 2)
    }
}
