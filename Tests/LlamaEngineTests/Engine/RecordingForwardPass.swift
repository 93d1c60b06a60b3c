import Foundation

@testable import LlamaEngine

/// A real forward pass that keeps a digest of the logits after each token history, and may be given fewer rows and blocks.
final class RecordingForwardPass: ForwardPass {
    let vocabulary: Int
    let kvBlockCount: Int
    let contextLength: Int
    let maxRows: Int
    let numericsID: String
    let expectedRowSeconds: Double

    private let pass: LlamaForwardPass
    private let recording: Recording
    private var slots: [Int32]

    /// What tests read when the engine's thread has ended.
    final class Recording: @unchecked Sendable {  // guarded by `lock`
        private let lock = NSLock()
        private var digests: [[Int32]: UInt64] = [:]

        var bits: [[Int32]: UInt64] { lock.withLock { digests } }

        /// A history that was computed before must have given the same bits; if not, no other run can equal this one.
        func record(_ history: [Int32], _ digest: UInt64) {
            lock.withLock {
                if let old = digests[history], old != digest { digests[history] = 0 } else { digests[history] = digest }
            }
        }
    }

    init(_ pass: LlamaForwardPass, blocks: Int, rows: Int, recording: Recording) {
        self.pass = pass
        self.recording = recording
        vocabulary = pass.vocabulary
        contextLength = pass.contextLength
        kvBlockCount = min(blocks, pass.kvBlockCount)
        maxRows = min(rows, pass.maxRows)
        numericsID = pass.numericsID
        expectedRowSeconds = pass.expectedRowSeconds
        slots = Array(repeating: -1, count: kvBlockCount * StepBatch.blockSize)
    }

    func run(_ batch: borrowing StepBatch) throws(EngineError) {
        try pass.run(batch)
        for row in 0..<batch.rowCount { slots[slot(batch, row, batch.positions[row])] = batch.tokens[row] }
        for (output, row) in batch.outputRows.enumerated() {
            let history = (0...batch.positions[Int(row)]).map { slots[slot(batch, Int(row), $0)] }
            recording.record(history, Self.digest(pass.logits(output)))
        }
    }

    func logits(_ output: Int) -> UnsafeMutableBufferPointer<Float> { pass.logits(output) }

    func sample(_ draws: inout [TokenDraw]) { pass.sample(&draws) }

    func copyBlock(from: Int32, to: Int32) {
        pass.copyBlock(from: from, to: to)
        for offset in 0..<StepBatch.blockSize {
            slots[Int(to) * StepBatch.blockSize + offset] = slots[Int(from) * StepBatch.blockSize + offset]
        }
    }

    /// The tokens of the slots go along, after the real bytes.
    var blockBytes: Int { pass.blockBytes + StepBatch.blockSize * MemoryLayout<Int32>.size }

    func saveBlock(_ block: Int32, to bytes: UnsafeMutableRawPointer) {
        pass.saveBlock(block, to: bytes)
        for offset in 0..<StepBatch.blockSize {
            let token = slots[Int(block) * StepBatch.blockSize + offset]
            bytes.storeBytes(of: token, toByteOffset: pass.blockBytes + offset * 4, as: Int32.self)
        }
    }

    func restoreBlock(_ block: Int32, from bytes: UnsafeRawPointer) {
        pass.restoreBlock(block, from: bytes)
        for offset in 0..<StepBatch.blockSize {
            slots[Int(block) * StepBatch.blockSize + offset] = bytes.load(
                fromByteOffset: pass.blockBytes + offset * 4, as: Int32.self)
        }
    }

    private func slot(_ batch: borrowing StepBatch, _ row: Int, _ position: Int32) -> Int {
        let entry = Int(batch.blockTableStart[Int(batch.sequences[row])]) + Int(position) / StepBatch.blockSize
        return Int(batch.blockTables[entry]) * StepBatch.blockSize + Int(position) % StepBatch.blockSize
    }

    private static func digest(_ logits: UnsafeMutableBufferPointer<Float>) -> UInt64 {
        // The standard library's own loop: one in Swift would crawl in a debug build. Equal within a process is enough.
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(logits))
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
