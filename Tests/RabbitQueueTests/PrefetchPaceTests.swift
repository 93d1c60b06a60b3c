import SeededRandom
import Testing

@testable import RabbitQueue

/// A broker that sends whatever it may, as a model.
private struct PaceWorld {
    var pace: PrefetchPace
    var open: [PrefetchPace.Consumer: (prefetch: Int, out: Int)] = [:]
    var held: [(consumer: PrefetchPace.Consumer, bytes: Int)] = []
    var mostBytes = 0
    var mostHeld = 0

    init(queues: Int, maximum: Int, maximumBytes: Int) {
        pace = PrefetchPace(
            singles: Array(repeating: false, count: queues), maximum: maximum, maximumBytes: maximumBytes)
        adjust()
    }

    mutating func adjust() {
        while let change = pace.next() {
            switch change {
            case .open(let consumer, let prefetch): open[consumer] = (prefetch, 0)
            case .cancel(let consumer): open[consumer] = nil
            }
        }
    }

    /// Everything that the consumers may get, before any change comes through.
    mutating func fill(bytes: Int) {
        for consumer in open.keys.sorted(by: { ($0.queue, $0.number) < ($1.queue, $1.number) }) {
            while let place = open[consumer], place.out < place.prefetch {
                open[consumer]?.out += 1
                held.append((consumer, bytes))
                pace.delivered(to: consumer, bytes: bytes)
            }
        }
        mostBytes = max(mostBytes, held.reduce(0) { $0 + $1.bytes })
        mostHeld = max(mostHeld, held.count)
    }

    mutating func settle(_ index: Int) {
        let (consumer, bytes) = held.remove(at: index)
        open[consumer]?.out -= 1
        pace.settled(of: consumer, bytes: bytes)
    }
}

@Suite struct PrefetchPaceTests {
    private static let mebibyte = 1 << 20

    @Test func smallBodiesReachTheWholeCount() {
        var world = PaceWorld(queues: 3, maximum: 1024, maximumBytes: 160 * Self.mebibyte)
        for _ in 0..<250 {
            world.fill(bytes: 1000)
            world.adjust()
        }
        #expect(world.held.count == 3 * 1024)
    }

    @Test func itBeginsWithFew() {
        let world = PaceWorld(queues: 3, maximum: 1024, maximumBytes: 160 * Self.mebibyte)
        #expect(world.open.values.map(\.prefetch) == [16, 16, 16])
        #expect(PaceWorld(queues: 1, maximum: 4, maximumBytes: 1).open.values.map(\.prefetch) == [4])
    }

    @Test func largeBodiesStopItAndItGoesOnWhenTheyAreSettled() {
        var world = PaceWorld(queues: 3, maximum: 1024, maximumBytes: 160 * Self.mebibyte)
        for _ in 0..<200 {
            world.fill(bytes: PrefetchPace.largestBody)
            world.adjust()
        }
        #expect(world.mostBytes <= (160 + 3 * 16 * 2) * Self.mebibyte)
        #expect(world.open.isEmpty || world.held.count < 128)
        while !world.held.isEmpty {
            world.settle(0)
            world.adjust()
        }
        #expect(world.open.count >= 3)
        #expect(world.pace.heldBytes == 0)
    }

    /// Whatever comes in whatever order: within the bytes, but for the first consumers' places, and within the count.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func theBytesStayWithinTheBound(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let maximum = Int.random(in: 1...300, using: &random)
        let budget = Int.random(in: 16...256, using: &random) * Self.mebibyte
        var world = PaceWorld(queues: 2, maximum: maximum, maximumBytes: budget)
        for _ in 0..<100 {
            let isLarge = Bool.random(using: &random)
            world.fill(bytes: isLarge ? PrefetchPace.largestBody : 500)
            for _ in 0..<Int.random(in: 0...40, using: &random) where !world.held.isEmpty {
                world.settle(Int.random(in: 0..<world.held.count, using: &random))
                world.adjust()
            }
            world.adjust()
            #expect(world.open.values.allSatisfy { $0.out <= $0.prefetch })
        }
        #expect(world.mostBytes <= budget + 2 * PrefetchPace.step * PrefetchPace.largestBody)
        #expect(world.mostHeld <= 2 * maximum)
        while !world.held.isEmpty { world.settle(0) }
        world.adjust()
        #expect(world.open.count >= 2 && world.pace.heldBytes == 0)
    }

    @Test func aSingleConsumerHasTheWholeCountAndStays() {
        var pace = PrefetchPace(singles: [true], maximum: 24, maximumBytes: 1000)
        let only = PrefetchPace.Consumer(queue: 0, number: 1)
        #expect(pace.next() == .open(only, prefetch: 24))
        for _ in 0..<24 { pace.delivered(to: only, bytes: 1 << 20) }
        #expect(pace.next() == nil)
        #expect(pace.stop() == .cancel(only))
        #expect(pace.stop() == nil)
    }
}
