import Testing

@testable import queue_worker

@Suite struct QueueAgeTests {
    @Test func anEmptyQueueHasNoAge() {
        var age = QueueAge()
        #expect(age.look(messages: 0, newestDelivered: nil, at: 10_000) == 0)
        #expect(age.look(messages: 0, newestDelivered: 1000, at: 20_000) == 0)
    }

    /// Nothing comes out: the oldest has been there since about the last look at an empty queue.
    @Test func aQueueThatStandsGrowsOlder() {
        var age = QueueAge()
        #expect(age.look(messages: 0, newestDelivered: 9000, at: 10_000) == 0)
        #expect(age.look(messages: 1, newestDelivered: 9000, at: 12_000) == 2)
        #expect(age.look(messages: 7, newestDelivered: 9000, at: 70_000) == 60)
    }

    /// It is never seen empty, but what comes out is young.
    @Test func aQueueThatFlowsStaysYoung() {
        var age = QueueAge()
        _ = age.look(messages: 0, newestDelivered: nil, at: 0)
        for second in Int64(1)...100 {
            #expect(age.look(messages: 50, newestDelivered: second * 1000 - 300, at: second * 1000) == 0.3)
        }
    }

    @Test(arguments: [Int64.min, -1, .max]) func noTimeThatIsAnnouncedTraps(time: Int64) {
        var age = QueueAge()
        #expect(age.look(messages: 5, newestDelivered: time, at: 100_000) >= 0)
    }

    @Test func whoHasJustBegunToLookBelievesTheConsumers() {
        var age = QueueAge()
        #expect(age.look(messages: 5, newestDelivered: nil, at: 100_000) == 0)
        #expect(age.look(messages: 5, newestDelivered: nil, at: 101_000) == 1)
        #expect(age.look(messages: 5, newestDelivered: 40_000, at: 101_000) == 61)
        // Clocks that differ make no negative age.
        #expect(age.look(messages: 5, newestDelivered: 102_000, at: 101_500) == 0)
    }
}
