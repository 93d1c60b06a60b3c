/// How the rows that make heads are read from the file: pairs become neighbours, and each head becomes whole vectors of 16.
///
/// The kernels rotate neighbours only. Queries, keys, their biases and the weights of their norms are put into the same order at load,
/// and a dot product of two heads does not depend on the order of its elements but for its rounding. So one kernel serves both,
/// and the rotation stays within a vector.
///
/// A head of another size is padded with rows of zeros. A product with them adds nothing to a score, and the outputs that come
/// of zero values are left out before the next matrix.
struct HeadLayout {
    /// Rows of a head in the file.
    var size: Int
    /// Rows of a head as the kernels have them.
    var padded: Int
    /// Leading elements of a head that change places; the others keep them.
    var rotated: Int

    /// nil where nothing moves and nothing is added.
    ///
    /// - Parameter rotates: true for queries and keys, false for values.
    init?(_ configuration: LlamaConfiguration, rotates: Bool) {
        size = configuration.headSize
        padded = configuration.paddedHeadSize
        let moves = rotates && configuration.ropePairing == .halves && configuration.ropeDimensions > 2
        rotated = moves ? configuration.ropeDimensions : 0
        guard rotated > 0 || isPadded else { return nil }
    }

    var isPadded: Bool { padded != size }

    /// Rows of whole heads as the kernels have them.
    func rows(ofFileRows rows: Int) -> Int { rows / size * padded }

    /// Rows of whole heads in the file.
    func fileRows(ofRows rows: Int) -> Int { rows / padded * size }

    /// The file's row that becomes row `row`; nil for one of zeros.
    func source(of row: Int) -> Int? {
        let element = row % padded, first = row / padded * size
        guard element < size else { return nil }
        guard element < rotated else { return first + element }
        return first + element / 2 + (element % 2 == 0 ? 0 : rotated / 2)
    }
}
