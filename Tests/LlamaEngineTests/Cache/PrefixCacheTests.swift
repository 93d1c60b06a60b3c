import SeededRandom
import Testing

@testable import LlamaEngine

@Suite struct PrefixCacheTests {
    private static let scope = CacheScope.salt("a")

    /// A pool and a table whose full blocks are listed, one for each number: sixteen tokens of that number.
    private struct Chains {
        var pool: BlockPool
        var hashMask = UInt64.max

        init(blocks: Int, hashMask: UInt64 = .max) {
            pool = BlockPool(blockCount: blocks, numericsID: "n", hashMask: hashMask)
        }

        func tokens(_ number: Int32) -> ArraySlice<Int32> { Array(repeating: number, count: BlockPool.blockSize)[...] }

        func hash(_ numbers: some Sequence<Int32>, _ scope: CacheScope = PrefixCacheTests.scope) -> UInt64 {
            numbers.reduce(pool.cache.rootHash(scope)) { pool.cache.hash(after: $0, tokens($1)) }
        }

        /// Takes what is cached, computes the rest; the tables of equal chains list the same blocks.
        mutating func table(_ numbers: [Int32], _ scope: CacheScope = PrefixCacheTests.scope) -> [Int32]? {
            var table = find(numbers, scope)
            for block in table { pool.retain(block) }
            for index in table.count..<max(table.count, numbers.count) {
                guard let block = pool.allocate() else { return nil }
                table.append(block)
                let listing = pool.list(
                    &table, at: index, scope: scope, hash: hash(numbers.prefix(index + 1), scope),
                    tokens: tokens(numbers[index]))
                if listing == .collision { return table }
            }
            return table
        }

        func find(_ numbers: [Int32], _ scope: CacheScope = PrefixCacheTests.scope) -> [Int32] {
            var found: [Int32] = []
            guard var node = pool.cache.scopes[scope] else { return [] }
            for index in numbers.indices {
                let hash = hash(numbers.prefix(index + 1), scope)
                guard let block = pool.cache.block(after: node, hash: hash, tokens: tokens(numbers[index])) else {
                    break
                }
                found.append(block)
                node = block
            }
            return found
        }
    }

    @Test func equalChainsOfOneScopeShareBlocksAndOthersDoNot() throws {
        var chains = Chains(blocks: 16)
        let made = chains.table([1, 2, 3])
        let first = try #require(made)
        #expect(chains.find([1, 2, 3, 4]) == first)
        #expect(chains.find([1, 9, 3]) == Array(first.prefix(1)))
        #expect(chains.find([2, 3]).isEmpty)
        #expect(chains.find([1, 2, 3], .salt("b")).isEmpty)
        #expect(chains.find([1, 2, 3], .request(1)).isEmpty)
        let again = chains.table([1, 2, 5])
        let second = try #require(again)
        #expect(second.prefix(2) == first.prefix(2))
        try chains.pool.verify(owners: [first, second])
    }

    @Test func anotherNumericsIDGivesOtherHashes() {
        let a = PrefixCache(blockCount: 1, numericsID: "a"), b = PrefixCache(blockCount: 1, numericsID: "b")
        #expect(a.rootHash(Self.scope) != b.rootHash(Self.scope))
        #expect(a.rootHash(.salt("a")) != a.rootHash(.salt("b")))
    }

    /// With one hash for everything a chain is found by its tokens or not at all.
    @Test func collisionsOfHashesAreMisses() throws {
        var chains = Chains(blocks: 16, hashMask: 0)
        let made = chains.table([1])
        var first = try #require(made)
        #expect(chains.find([1]) == first)
        #expect(chains.find([2]).isEmpty)
        let other = chains.table([2])
        var second = try #require(other)
        #expect(second != first)
        #expect(chains.find([2]).isEmpty)
        #expect(chains.find([1, 1]) == first)
        try chains.pool.verify(owners: [first, second])
        // The same tokens at the second place have another parent.
        let third = chains.table([1, 1])
        #expect(third.map { $0.first == first.first && $0.last != first.last } == true)
        chains.pool.release(table: &first)
        chains.pool.release(table: &second)
    }

    @Test func theLeastRecentlyUsedGoesFirstAndChildrenBeforeTheirParents() throws {
        var chains = Chains(blocks: 6)
        let a = chains.table([1, 2, 3]), b = chains.table([7, 8, 9])
        var first = try #require(a), second = try #require(b)
        chains.pool.release(table: &first)
        chains.pool.release(table: &second)
        #expect(chains.pool.freeCount == 6)
        #expect(chains.pool.cachedCount == 6)
        // A use makes the older chain the newer one.
        let used = chains.table([1, 2, 3])
        first = try #require(used)
        chains.pool.release(table: &first)
        var taken: [Int32] = []
        for found in [[2, 3], [1, 3], [0, 3], [0, 2]] {
            let block = chains.pool.allocate()
            taken.append(try #require(block))
            #expect([chains.find([7, 8, 9]).count, chains.find([1, 2, 3]).count] == found)
            try chains.pool.verify(owners: [taken])
        }
        #expect(chains.pool.evictions == 4)
    }

    @Test func whatTwoHaveComputedIsKeptOnce() throws {
        var chains = Chains(blocks: 8)
        let made = chains.table([1, 2])
        let first = try #require(made)
        // The second began before the first had listed anything.
        var second = (0..<2).compactMap { _ in chains.pool.allocate() }
        for index in 0..<2 {
            let listing = chains.pool.list(
                &second, at: index, scope: Self.scope, hash: chains.hash([1, 2].prefix(index + 1)),
                tokens: chains.tokens([1, 2][index]))
            #expect(listing == .listed)
        }
        #expect(second == first)
        #expect(chains.pool.freeCount == 6)
        try chains.pool.verify(owners: [first, second])
    }

    @Test func aPartialBlockIsContinuedInPlaceByOneAndCopiedForTwo() throws {
        var chains = Chains(blocks: 8)
        let made = chains.table([1])
        var table = try #require(made)
        let tail: [Int32] = [5, 6, 7]
        let allocated = chains.pool.allocate()
        let partial = try #require(allocated)
        table.append(partial)
        chains.pool.listPartial(table, at: 1, scope: Self.scope, tokens: tail[...])
        let parent = table[0]
        chains.pool.release(table: &table)
        try chains.pool.verify(owners: [])

        #expect(chains.pool.cache.longestMatch(after: parent, [5, 6, 7, 8])?.count == 3)
        #expect(chains.pool.cache.longestMatch(after: parent, [5, 9])?.count == 1)
        #expect(chains.pool.cache.longestMatch(after: parent, [9]) == nil)

        for block in [parent, partial] { chains.pool.retain(block) }
        var first = [parent, partial]
        // It goes on otherwise: the cached one stays as it is.
        guard case .copied(let copy) = chains.pool.makeWritable(&first, at: 1, keeping: 1) else {
            Issue.record("a cached block was written in place")
            return
        }
        #expect(copy.from == partial)
        #expect(chains.pool.cache.holds(partial))
        for block in [parent, partial] { chains.pool.retain(block) }
        var second = [parent, partial]
        #expect(chains.pool.makeWritable(&second, at: 1, keeping: 3) == .inPlace)
        #expect(!chains.pool.cache.holds(partial))
        try chains.pool.verify(owners: [first, second])
    }

    @Test func theLastBlockOfAllIsWrittenInPlace() throws {
        var chains = Chains(blocks: 1)
        let made = chains.table([1])
        var table = try #require(made)
        #expect(chains.pool.makeWritable(&table, at: 0, keeping: 4) == .inPlace)
        try chains.pool.verify(owners: [table])
    }

    @Test func aScopeIsForgottenWhole() throws {
        var chains = Chains(blocks: 8)
        let scope = CacheScope.request(7)
        let a = chains.table([1, 2], scope), b = chains.table([1, 3], scope)
        var first = try #require(a), second = try #require(b)
        chains.pool.release(table: &first)
        chains.pool.release(table: &second)
        #expect(chains.pool.cachedCount == 3)
        chains.pool.forget(scope)
        #expect(chains.pool.cachedCount == 0)
        #expect(chains.pool.cache.scopes.isEmpty)
        try chains.pool.verify(owners: [])
    }

    @Test func verificationFindsABrokenTree() throws {
        var chains = Chains(blocks: 4)
        let made = chains.table([1, 2])
        let table = try #require(made)
        #expect(throws: IntegrityFault.self) { try chains.pool.verify(owners: []) }
        // The parent without its owner would be evicted before its child.
        chains.pool.release(table[0])
        #expect(throws: IntegrityFault.self) { try chains.pool.verify(owners: [[table[1]]]) }
    }

    @Test(arguments: [UInt64.max, 3])
    func randomOperationsKeepTheBooks(hashMask: UInt64) throws {
        var random = SeededGenerator(seed: 11)
        var chains = Chains(blocks: 24, hashMask: hashMask)
        var tables: [[Int32]] = Array(repeating: [], count: 5)
        for _ in 0..<3000 {
            let i = Int.random(in: tables.indices, using: &random)
            chains.pool.release(table: &tables[i])
            if Int.random(in: 0..<4, using: &random) == 0 { continue }
            let numbers = (0..<Int.random(in: 1...5, using: &random)).map { _ in Int32.random(in: 0...2, using: &random)
            }
            let scope = CacheScope.salt(["x", "y"].randomElement(using: &random) ?? "x")
            tables[i] = chains.table(numbers, scope) ?? []
            // A table that found no block left what it had taken.
            if tables[i].isEmpty { chains = Chains(blocks: 24, hashMask: hashMask); tables = tables.map { _ in [] } }
            try chains.pool.verify(owners: tables)
        }
        // With four hashes nearly nothing can be listed.
        #expect(hashMask == 3 || chains.pool.evictions > 0)
    }
}
