extension StepBatch {
    /// Refuses what would make the kernels read or write outside their memory.
    func check(for pass: some ForwardPass) throws(EngineError) {
        let rows = tokens.count
        guard rows <= pass.maxRows else {
            throw .invalidBatch(field: "tokens", reason: "\(rows) rows are more than \(pass.maxRows)")
        }
        guard positions.count == rows else {
            throw .invalidBatch(field: "positions", reason: "\(positions.count) for \(rows) rows")
        }
        guard sequences.count == rows else {
            throw .invalidBatch(field: "sequences", reason: "\(sequences.count) for \(rows) rows")
        }
        try checkBlockTables(blocks: pass.kvBlockCount)
        for row in 0..<rows {
            let token = tokens[row], position = positions[row], sequence = sequences[row]
            guard token >= 0, token < pass.vocabulary else {
                throw .invalidBatch(field: "tokens[\(row)]", reason: "\(token) is not in 0..<\(pass.vocabulary)")
            }
            guard position >= 0, position < pass.contextLength else {
                throw .invalidBatch(
                    field: "positions[\(row)]", reason: "\(position) is not in 0..<\(pass.contextLength)")
            }
            guard sequence >= 0, sequence < blockTableStart.count, row == 0 || sequence >= sequences[row - 1] else {
                throw .invalidBatch(
                    field: "sequences[\(row)]", reason: "\(sequence) is not ascending in 0..<\(blockTableStart.count)")
            }
            guard row == 0 || sequence != sequences[row - 1] || position > positions[row - 1] else {
                throw .invalidBatch(
                    field: "positions[\(row)]", reason: "\(position) does not ascend within its sequence")
            }
            guard Int(position) / Self.blockSize < blockTableLength(Int(sequence)) else {
                throw .invalidBatch(
                    field: "blockTables", reason: "sequence \(sequence) has no block for position \(position)")
            }
        }
        for (output, row) in outputRows.enumerated() {
            guard row >= 0, row < rows, output == 0 || row > outputRows[output - 1] else {
                throw .invalidBatch(field: "outputRows[\(output)]", reason: "\(row) is not ascending in 0..<\(rows)")
            }
        }
    }

    private func blockTableLength(_ sequence: Int) -> Int {
        let end = sequence + 1 < blockTableStart.count ? Int(blockTableStart[sequence + 1]) : blockTables.count
        return end - Int(blockTableStart[sequence])
    }

    private func checkBlockTables(blocks: Int) throws(EngineError) {
        for (sequence, start) in blockTableStart.enumerated() {
            guard start >= 0, start <= blockTables.count, sequence == 0 || start >= blockTableStart[sequence - 1] else {
                throw .invalidBatch(
                    field: "blockTableStart[\(sequence)]",
                    reason: "\(start) is not ascending in 0...\(blockTables.count)")
            }
        }
        for (entry, block) in blockTables.enumerated() where block < 0 || block >= blocks {
            throw .invalidBatch(field: "blockTables[\(entry)]", reason: "\(block) is not in 0..<\(blocks)")
        }
    }
}
