import Testing

@testable import queue_worker

@Suite struct SettlerPrefetchTests {
    /// The largest outcomes that a worker holds, whatever its settings, are a quarter of its memory of 256 MiB.
    @Test(arguments: [1, 2, 3, 8], [1, 128, 500])
    func allSettlersTogetherHoldSoMuch(shards: Int, batch: Int) {
        let held = Settler.prefetch(batch: batch, shards: shards) * shards
        #expect(held * 2 <= 64)
        #expect(held >= shards)
    }

    @Test func manyShardsHaveAFewEach() {
        #expect(Settler.prefetch(batch: 128, shards: 100) == 4)
        #expect(Settler.prefetch(batch: 1, shards: 2) == 2)
        #expect(Settler.prefetch(batch: 128, shards: 2) == 16)
    }
}
