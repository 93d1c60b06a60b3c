import ChatCore
import RabbitQueue
import Testing

/// What the platform relies on when a turn dies, as the broker does it.
@Suite(.timeLimit(.minutes(2))) struct DeathTests {
    private let queue = QueueDeclaration.work("chat_queue")

    private func stage(
        _ further: [QueueDeclaration] = [],
        body: (RabbitConfiguration, RabbitPublisher, Taker) async throws -> Void
    ) async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(
            configuration: broker, topology: Topology(queues: [.deadLetters(), queue] + further), logger: silent)
        let dead = RabbitConsumer(broker, .deadLetters(), prefetch: 10)
        try await running(publisher, dead) {
            try await connected(publisher)
            try await connected(dead)
            try await body(broker, publisher, Taker(dead))
        }
    }

    private func message(_ id: String, expiration: Duration?, queue: String = "chat_queue") -> OutgoingMessage {
        OutgoingMessage(queue: queue, body: Array(id.utf8), id: id, expiration: expiration)
    }

    @Test func aMessageThatNobodyTakesDiesWhenItExpires() async throws {
        try await stage { _, publisher, dead in
            try await publisher.publishPatiently(message("1", expiration: .milliseconds(200)))
            let letter = try await dead.next()
            #expect(letter.id == "1" && letter.body == Array("1".utf8))
            #expect(letter.death == Death(queue: "chat_queue", reason: "expired"))
        }
    }

    /// Expiry is looked at in the queue only: a consumer keeps what it holds, and what it loses later dies at once.
    @Test func aMessageExpiresAfterItsConsumerDiedToo() async throws {
        try await stage { broker, publisher, dead in
            let consumer = RabbitConsumer(broker, queue, prefetch: 10)
            try await running(consumer) {
                try await connected(consumer)
                let taker = Taker(consumer)
                try await publisher.publishPatiently(message("1", expiration: .milliseconds(300)))
                try await publisher.publishPatiently(message("2", expiration: nil))
                let held = try await taker.next(2)
                try await held[1].acknowledge()
                // A second one that expires after the first shows that the first one's time is over.
                let other = RabbitPublisher(broker, .deadLetters(), .work("batch_queue"))
                try await running(other) {
                    try await connected(other)
                    try await other.publishPatiently(message("3", expiration: .milliseconds(500), queue: "batch_queue"))
                    #expect(try await dead.next().id == "3")
                }
                #expect(held[0].isLive)
            }
            let letter = try await dead.next()
            #expect(letter.id == "1" && letter.death?.reason == "expired")
        }
    }

    @Test func aRejectedMessageAndOneGivenUpSayWhy() async throws {
        try await stage { broker, publisher, dead in
            let consumer = RabbitConsumer(broker, queue, prefetch: 10)
            try await running(consumer) {
                try await publisher.publish(1...2, to: "chat_queue")
                let taken = try await Taker(consumer).next(2)
                try await taken[0].reject(requeue: false)
                #expect(try await dead.next().death == Death(queue: "chat_queue", reason: "rejected"))
                try await publisher.publishPatiently(
                    OutgoingMessage(givenUp: taken[1], reason: String(repeating: "ä", count: 5000)))
                try await taken[1].acknowledge()
                let letter = try await dead.next()
                #expect(letter.death?.queue == "chat_queue" && letter.body == taken[1].body && letter.id == "2")
                #expect(letter.death?.reason == String(repeating: "ä", count: 500))
            }
        }
    }

    @Test func ofSeveralDeathsTheNewestIsTold() async throws {
        let ladder = RetryLadder()
        try await stage(ladder.declarations()) { broker, publisher, dead in
            try await publisher.publishPatiently(message("1", expiration: .seconds(60), queue: ladder.queue(rung: 0)))
            let due = RabbitConsumer(broker, ladder.declarations()[0], prefetch: 10)
            try await running(due) {
                let back = try await Taker(due).next()
                #expect(back.death == Death(queue: ladder.queue(rung: 0), reason: "expired"))
                try await back.reject(requeue: false)
                #expect(try await dead.next().death == Death(queue: RetryLadder.dueQueue, reason: "rejected"))
            }
        }
    }

    @Test func aTurnLivesUntilItsDeadlineAndALittleLonger() {
        func left(_ deadline: Int64, now: Int64 = 1_000_000) -> Duration {
            OutgoingMessage(turn: turn(deadline: deadline), body: [], now: now).expiration ?? .zero
        }
        #expect(left(1_000_250) == .milliseconds(1250))
        #expect(left(999_000) == .seconds(1))
        #expect(left(.min) == .seconds(1))
        #expect(left(.max, now: -1) == OutgoingMessage.maximumExpiration)
        #expect(OutgoingMessage(turn: turn(deadline: 0), body: [], now: 0).queue == "batch_queue")
    }

    private func turn(deadline: Int64) -> Turn {
        var random = SystemRandomNumberGenerator()
        let id = TurnID(milliseconds: 1, using: &random)
        return Turn(
            id: id,
            conversation: ConversationKey(owner: UserKey(tenant: "t", user: "u"), id: ConversationID(firstTurn: id)),
            beginsConversation: true, kind: .batch, message: "", system: nil, context: [], model: nil,
            sampling: .init(maxTokens: 1, seed: 1), acceptedAt: 0, deadline: deadline)
    }
}
