import SeededRandom
import Testing

@testable import LlamaEngine

@Suite struct BlockPoolTests {
    @Test func allocatesEachBlockOnceAndNoMore() {
        var pool = BlockPool(blockCount: 5)
        let blocks = (0..<5).compactMap { _ in pool.allocate() }
        #expect(Set(blocks).count == 5)
        #expect(pool.allocate() == nil)
        #expect(pool.freeCount == 0)
    }

    @Test func sharedBlockIsFreeWhenItsLastOwnerLeaves() throws {
        var pool = BlockPool(blockCount: 2)
        let allocated = pool.allocate()
        let block = try #require(allocated)
        pool.retain(block)
        pool.release(block)
        #expect(pool.freeCount == 1)
        pool.release(block)
        #expect(pool.freeCount == 2)
    }

    @Test func writingIntoASharedBlockMovesTheWriterToACopy() throws {
        var pool = BlockPool(blockCount: 3)
        let allocated = pool.allocate()
        let shared = try #require(allocated)
        pool.retain(shared)
        let reader = [shared]
        var writer = [shared]
        guard case .copied(let copy) = pool.makeWritable(&writer, at: 0) else {
            Issue.record("a shared block was written in place")
            return
        }
        #expect(copy.from == shared)
        #expect(writer == [copy.to])
        #expect(pool.makeWritable(&writer, at: 0) == .inPlace)
        try pool.verify(owners: [reader, writer])
    }

    @Test func copyOnWriteWithoutAFreeBlockLeavesTheTableAlone() throws {
        var pool = BlockPool(blockCount: 1)
        let allocated = pool.allocate()
        let shared = try #require(allocated)
        pool.retain(shared)
        var writer = [shared]
        #expect(pool.makeWritable(&writer, at: 0) == .outOfBlocks)
        #expect(writer == [shared])
    }

    @Test func verificationFindsLeaksAndWrongOwners() throws {
        var pool = BlockPool(blockCount: 3)
        let allocated = pool.allocate()
        let block = try #require(allocated)
        try pool.verify(owners: [[block]])
        #expect(throws: IntegrityFault.self) { try pool.verify(owners: []) }
        #expect(throws: IntegrityFault.self) { try pool.verify(owners: [[block], [block]]) }
        #expect(throws: IntegrityFault.self) { try pool.verify(owners: [[block, 99]]) }
    }

    @Test func randomOperationsKeepTheBooks() throws {
        var random = SeededGenerator(seed: 7)
        var pool = BlockPool(blockCount: 40)
        var tables: [[Int32]] = Array(repeating: [], count: 6)
        for _ in 0..<4000 {
            let i = Int.random(in: tables.indices, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: pool.release(table: &tables[i])
            case 1:
                let other = Int.random(in: tables.indices, using: &random)
                guard other != i else { continue }
                pool.release(table: &tables[i])
                tables[i] = tables[other]
                for block in tables[i] { pool.retain(block) }
            case 2...4:
                guard let index = tables[i].indices.randomElement(using: &random) else { continue }
                _ = pool.makeWritable(&tables[i], at: index)
            default:
                if let block = pool.allocate() { tables[i].append(block) }
            }
            try pool.verify(owners: tables)
        }
    }
}

/// The check of the books in slices finds what the whole one finds, and misses no block.
@Suite struct IntegrityCheckTests {
    /// A pool of 64 blocks in which cached chains of some lengths lie.
    private func pool() -> BlockPool {
        var pool = BlockPool(blockCount: 64)
        for (chain, length) in [3, 5, 1].enumerated() {
            let scope = CacheScope.salt("\(chain)")
            var table: [Int32] = []
            var hash = pool.cache.rootHash(scope)
            for index in 0..<length {
                guard let block = pool.allocate() else { return pool }
                table.append(block)
                let tokens = (0..<16).map { Int32(chain * 1000 + index * 16 + $0) }
                hash = pool.cache.hash(after: hash, tokens[...])
                _ = pool.list(&table, at: index, scope: scope, hash: hash, tokens: tokens[...])
            }
            pool.release(table: &table)
        }
        return pool
    }

    private func slices(_ pool: BlockPool, of steps: Int) throws(IntegrityFault) -> Int {
        var check = IntegrityCheck(pool)
        var count = 1
        while try !check.advance(pool, steps: steps) { count += 1 }
        return count
    }

    @Test func slicesComeToTheEnd() throws {
        let pool = pool()
        #expect(pool.cachedCount == 9)
        #expect(try slices(pool, of: .max) == 1)
        // Each goes on by no more than it may.
        #expect(try slices(pool, of: 8) >= (64 + 64 + 9) / 8)
    }

    @Test(arguments: [1, 7, 1000])
    func everyBlockThatWasLostIsFound(steps: Int) {
        for place in 0..<55 {
            var pool = pool()
            var blocks = (0...place).compactMap { _ in pool.allocate() }
            // The last one keeps an owner that no table knows.
            _ = blocks.removeLast()
            for block in blocks { pool.release(block) }
            #expect(throws: IntegrityFault.self) { try slices(pool, of: steps) }
        }
    }
}
