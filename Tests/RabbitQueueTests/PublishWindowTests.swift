import Testing

@testable import RabbitQueue

@Suite struct PublishWindowTests {
    private let start = ContinuousClock.now

    private func window(_ count: Int, queue: String = "q") -> PublishWindow<Int> {
        var window = PublishWindow<Int>()
        for number in 1...count {
            _ = window.add(
                queue: queue, id: "\(number)", deadline: start + .seconds(number), waiter: number)
        }
        return window
    }

    private func waiters(_ settled: [PublishWindow<Int>.Settled]) -> [Int] { settled.map(\.waiter) }

    @Test func oneConfirmSettlesOne() throws {
        var window = window(3)
        #expect(waiters(try window.confirm(2, multiple: false, isAccepted: true)) == [2])
        #expect(window.count == 2)
        // A second confirm of it, or one after a time-out, finds nobody waiting.
        let again = try window.confirm(2, multiple: false, isAccepted: true)
        #expect(again.isEmpty)
    }

    @Test func multipleSettlesAllUpToIt() throws {
        var window = window(5)
        _ = try window.confirm(2, multiple: false, isAccepted: true)
        #expect(waiters(try window.confirm(4, multiple: true, isAccepted: true)) == [1, 3, 4])
        #expect(waiters(try window.confirm(0, multiple: true, isAccepted: true)) == [5])
    }

    @Test func refusalNamesTheQueue() throws {
        var window = window(2, queue: "full")
        let settled = try window.confirm(2, multiple: true, isAccepted: false)
        #expect(settled.allSatisfy { $0.result.failure == .rejected(queue: "full") })
        #expect(settled.count == 2)
    }

    @Test func returnedIsUnroutableAlthoughConfirmed() throws {
        var window = PublishWindow<Int>()
        for number in 1...4 {
            // The same id twice, as a retry has it, to a queue that came and went in between.
            _ = window.add(queue: number == 4 ? "other" : "q", id: "same", deadline: start, waiter: number)
        }
        window.returned(queue: "q", id: "same")
        window.returned(queue: "q", id: "same")
        window.returned(queue: "q", id: "nobody's")
        let settled = try window.confirm(4, multiple: true, isAccepted: true)
        #expect(settled.map(\.result.failure) == [.unroutable(queue: "q"), .unroutable(queue: "q"), nil, nil])
    }

    @Test(arguments: [(UInt64(3), false), (0, false), (.max, true), (3, true)])
    func confirmOfTheUnpublishedIsAnError(tag: UInt64, multiple: Bool) {
        var window = window(2)
        #expect(throws: RabbitError.self) { try window.confirm(tag, multiple: multiple, isAccepted: true) }
        #expect(window.count == 2)
    }

    @Test func expiresTheOldestFirst() throws {
        var window = window(4)
        _ = try window.confirm(1, multiple: false, isAccepted: true)
        #expect(window.earliestDeadline() == start + .seconds(2))
        #expect(window.expire(at: start + .seconds(3)) == [2, 3])
        #expect(window.earliestDeadline() == start + .seconds(4))
        #expect(window.removeAll() == [4])
        #expect(window.earliestDeadline() == nil)
    }
}

@Suite struct UnacknowledgedTagsTests {
    typealias Acknowledgement = UnacknowledgedTags.Acknowledgement

    private func tags(_ numbers: ClosedRange<UInt64>) throws -> UnacknowledgedTags {
        var tags = UnacknowledgedTags()
        for number in numbers { try tags.add(number) }
        return tags
    }

    @Test func aWholePrefixTakesOneFrame() throws {
        var tags = try tags(1...5)
        #expect(tags.acknowledge([3, 1, 2]) == [Acknowledgement(tag: 3, multiple: true)])
        #expect(tags.acknowledge([4]) == [Acknowledgement(tag: 4, multiple: false)])
        #expect(tags.count == 1)
    }

    @Test func neverCoversOneThatIsStillInHand() throws {
        var tags = try tags(1...6)
        #expect(
            tags.acknowledge([1, 2, 4, 6, 99])
                == [
                    Acknowledgement(tag: 2, multiple: true), Acknowledgement(tag: 4, multiple: false),
                    Acknowledgement(tag: 6, multiple: false),
                ])
        #expect(tags.count == 2)
        #expect(tags.acknowledge([3, 5]) == [Acknowledgement(tag: 5, multiple: true)])
    }

    @Test func settlesEachOnce() throws {
        var tags = try tags(1...3)
        let removed = [2, 2, 9].map { tags.remove($0) }
        #expect(removed == [true, false, false])
        #expect(throws: RabbitError.self) { try tags.add(3) }
    }
}
