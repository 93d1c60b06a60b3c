/// One step of the model over a batch of rows.
///
/// A forward pass owns its scratch memory and the paged KV cache. It belongs to one thread (the engine's), is not `Sendable`,
/// and allocates nothing in ``run(_:)``. What a row gives depends on that row's own sequence only: not on the rows beside
/// it, on their number, on the number of threads or on how a prompt was cut into chunks (docs/numerics.md).
public protocol ForwardPass: AnyObject {
    /// Logits of one row.
    var vocabulary: Int { get }
    /// Physical KV blocks, each of ``StepBatch/blockSize`` tokens.
    var kvBlockCount: Int { get }
    /// The largest number of tokens of one sequence.
    var contextLength: Int { get }
    /// The largest number of rows of one step.
    var maxRows: Int { get }
    /// Names what the bits of keys and values depend on.
    var numericsID: String { get }
    /// Seconds that a prompt's row may take on an ordinary machine: what the scheduler goes by until it has measured one.
    var expectedRowSeconds: Double { get }

    /// Computes all rows of the batch, writes their keys and values into the KV blocks of their sequences and the
    /// logits of the output rows.
    ///
    /// - Throws: ``EngineError/invalidBatch(field:reason:)`` before anything is computed;
    ///   ``EngineError/nonFiniteLogits(outputs:)`` after everything is: the other outputs' logits are then valid.
    func run(_ batch: borrowing StepBatch) throws(EngineError)

    /// The logits of output `output`, an index into the last batch's `outputRows`: `[vocabulary]`, valid until the next run.
    func logits(_ output: Int) -> UnsafeMutableBufferPointer<Float>

    /// Draws a token from the logits of each draw's output, on the pass's threads where it has some. What a draw gives depends on
    /// its own logits, parameters and index only.
    func sample(_ draws: inout [TokenDraw])

    /// Copies a physical KV block, all layers of it (copy-on-write).
    func copyBlock(from: Int32, to: Int32)

    /// Bytes of a physical KV block, all layers of it.
    var blockBytes: Int { get }
    /// Copies a block's ``blockBytes`` bytes out.
    func saveBlock(_ block: Int32, to bytes: UnsafeMutableRawPointer)
    /// Copies a block's bytes back in; it may be another block than they came from.
    func restoreBlock(_ block: Int32, from bytes: UnsafeRawPointer)
}
