/// The rows of one step, reused from step to step so that nothing is allocated once it has grown to its capacity.
///
/// Rows of one sequence are consecutive and ascending in position. A sequence brings one row (decode) or many (a chunk of
/// prefill); positions before its first row must have been computed in earlier steps into the same blocks.
public struct StepBatch: Sendable {
    /// Tokens of one KV block.
    public static let blockSize = 16

    /// `[rows]` token ids.
    public var tokens: [Int32] = []
    /// `[rows]` position of the row in its sequence, from 0.
    public var positions: [Int32] = []
    /// `[rows]` index of the row's sequence within this step, ascending.
    public var sequences: [Int32] = []
    /// `[sequences]` where the sequence's block table starts in ``blockTables``; it ends where the next one starts.
    public var blockTableStart: [Int32] = []
    /// The concatenated block tables: physical block ids; entry `p / 16` of a sequence's table holds its position `p`.
    public var blockTables: [Int32] = []
    /// Rows whose logits are wanted, ascending, each at most once.
    public var outputRows: [Int32] = []

    /// - Parameters:
    ///   - maxRows: rows reserved.
    ///   - maxSequences: sequences reserved.
    ///   - maxBlocks: entries reserved for all block tables of a step together.
    public init(maxRows: Int = 0, maxSequences: Int = 0, maxBlocks: Int = 0) {
        tokens.reserveCapacity(maxRows)
        positions.reserveCapacity(maxRows)
        sequences.reserveCapacity(maxRows)
        blockTableStart.reserveCapacity(maxSequences)
        blockTables.reserveCapacity(maxBlocks)
        outputRows.reserveCapacity(maxRows)
    }

    public var rowCount: Int { tokens.count }
    public var sequenceCount: Int { blockTableStart.count }

    /// Empties the batch and keeps its memory.
    public mutating func removeAll() {
        tokens.removeAll(keepingCapacity: true)
        positions.removeAll(keepingCapacity: true)
        sequences.removeAll(keepingCapacity: true)
        blockTableStart.removeAll(keepingCapacity: true)
        blockTables.removeAll(keepingCapacity: true)
        outputRows.removeAll(keepingCapacity: true)
    }

    /// Starts the next sequence; the rows appended after it belong to it.
    public mutating func beginSequence(blockTable: some Sequence<Int32>) {
        blockTableStart.append(Int32(blockTables.count))
        blockTables.append(contentsOf: blockTable)
    }

    /// Appends a row of the sequence begun last. Rows before any ``beginSequence(blockTable:)`` are refused by the forward pass.
    public mutating func append(token: Int32, position: Int32, wantsLogits: Bool) {
        if wantsLogits { outputRows.append(Int32(tokens.count)) }
        tokens.append(token)
        positions.append(position)
        sequences.append(Int32(blockTableStart.count - 1))
    }
}
