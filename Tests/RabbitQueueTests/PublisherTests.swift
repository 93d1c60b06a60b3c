import Testing

@testable import RabbitQueue

@Suite struct PublisherTests {
    private let queue = QueueDeclaration.work("chat_queue")

    @Test func returnsWhenTheBrokerHasIt() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, queue)
        let inspector = QueueInspector(configuration: broker, logger: silent)
        try await running(publisher, inspector) {
            try await connected(publisher)
            try await connected(inspector)
            try await publisher.publish(1...3, to: "chat_queue")
            // No waiting: what is confirmed is in the queue.
            #expect(try await inspector.count("chat_queue") == 3)
        }
        #expect(!publisher.isConnected)
    }

    @Test func aMissingQueueIsUnroutable() async throws {
        let publisher = RabbitPublisher(try await freshBroker(), queue)
        try await running(publisher) {
            try await connected(publisher)
            await #expect(throws: RabbitError.unroutable(queue: "node.gone")) {
                try await publisher.publish(OutgoingMessage(queue: "node.gone", body: [1], id: "1"))
            }
            try await publisher.publish(1...1, to: "chat_queue")
            // With routable ones around it and the same id on both.
            let results = await withTaskGroup(of: (Int, RabbitError?).self) { group in
                for number in 0..<60 {
                    group.addTask {
                        let target = number % 3 == 0 ? "node.gone" : "chat_queue"
                        do throws(RabbitError) {
                            try await publisher.publish(OutgoingMessage(queue: target, body: [1], id: "\(number / 3)"))
                            return (number, nil)
                        } catch { return (number, error) }
                    }
                }
                return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            #expect(Set(results.keys) == Set((0..<60).filter { $0 % 3 == 0 }))
            #expect(results.values.allSatisfy { $0 == .unroutable(queue: "node.gone") })
        }
    }

    @Test func aFullQueueRejects() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, .work("chat_queue", within: QueueBounds(messages: 5)))
        try await running(publisher) {
            try await connected(publisher)
            try await publisher.publish(1...1, to: "chat_queue")
            // A quorum queue finds out a little late that it is full; it never takes without bound.
            var accepted = 1
            await #expect(throws: RabbitError.rejected(queue: "chat_queue")) {
                while accepted < 1000 {
                    try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [1], id: "\(accepted)"))
                    accepted += 1
                }
            }
            #expect((5...20).contains(accepted))
            #expect(!publisher.isRefused(by: "chat_queue"))
            for _ in 1..<Refusals.enough {
                try? await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [1], id: "full"))
            }
            // Whoever asks need not publish to find out; a second later somebody has to.
            #expect(publisher.isRefused(by: "chat_queue"))
            #expect(!publisher.isRefused(by: "stream_queue"))
            try await eventually("one may try again") { !publisher.isRefused(by: "chat_queue") }
        }
    }

    @Test func refusalsEndWithAConfirmOrWithTime() {
        var refusals = Refusals()
        let now = ContinuousClock.now
        for _ in 0..<3 { refusals.refused(by: "q", at: now) }
        #expect(!refusals.isRefused(by: "q", at: now))
        refusals.refused(by: "q", at: now)
        #expect(refusals.isRefused(by: "q", at: now))
        #expect(!refusals.isRefused(by: "q", at: now + Refusals.lifetime))
        refusals.confirmed(by: "q")
        #expect(refusals.isEmpty && !refusals.isRefused(by: "q", at: now))
        for number in 0..<1000 { refusals.refused(by: "node.\(number)", at: now) }
        refusals.refused(by: "q", at: now + Refusals.lifetime)
        #expect(!refusals.isEmpty)
    }

    @Test func withoutAConnectionItSaysSoAtOnce() async throws {
        let publisher = RabbitPublisher(try await freshBroker(), queue)
        await #expect(throws: RabbitError.unavailable) {
            try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [], id: "1"))
        }
        #expect(await !publisher.waitUntilConnected(timeout: .zero))
    }

    @Test func wrongCredentialsAreTheBrokersWords() async throws {
        var uri = try await TestBrokerURI.current()
        uri.password = "wrong"
        let publisher = RabbitPublisher(try RabbitConfiguration(uri: uri.text), queue)
        try await running(publisher) {
            try await eventually("login refused") {
                guard case .server(code: 403, let text) = publisher.lastFailure else { return false }
                return text.hasPrefix("ACCESS_REFUSED")
            }
            // The service is not ready, and says why.
            #expect(publisher.lastFailure?.meaning == .configuration)
            #expect(publisher.reluctance?.contains("403") == true)
            #expect(!publisher.isConnected)
        }
    }

    @Test func publishesBeyondTheBoundAreOverload() async throws {
        var broker = try await freshBroker()
        broker.maximumPendingPublishes = 2
        let publisher = RabbitPublisher(broker, queue)
        try await running(publisher) {
            try await connected(publisher)
            try await publisher.publish(1...1, to: "chat_queue")
            let outcomes = await publishTogether(200, with: publisher)
            #expect(outcomes[.none, default: 0] >= 2)
            #expect(outcomes[.overloaded, default: 0] >= 1)
            #expect(outcomes.count == 2)
            // And room again afterwards.
            try await publisher.publish(1...1, to: "chat_queue")
        }
    }

    @Test func aCancelledCallerIsFreeAtOnceAndTheOthersAreUntouched() async throws {
        let publisher = RabbitPublisher(try await freshBroker(), queue)
        try await running(publisher) {
            try await connected(publisher)
            let cancelled = Task {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [], id: "1"))
            }
            cancelled.cancel()
            if case .failure(let error) = await cancelled.result { #expect(error as? RabbitError == .cancelled) }
            try await publisher.publish(1...10, to: "chat_queue")
        }
    }

    @Test func bodiesOfManyFramesArriveWhole() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, queue)
        let consumer = RabbitConsumer(broker, queue, prefetch: 10)
        try await running(publisher, consumer) {
            try await connected(publisher)
            let taker = Taker(consumer)
            for size in [0, 1, 65_536, (128 << 10) - 8, (128 << 10) - 7, 3_000_000] {
                let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                try await publisher.publishPatiently(
                    OutgoingMessage(
                        queue: "chat_queue", body: body, id: "\(size)", headers: ["tenant": "åß∂", "e": ""]))
                let delivery = try await taker.next()
                #expect(delivery.body == body && delivery.id == "\(size)")
                #expect(delivery.headers["tenant"] == "åß∂" && delivery.headers["e"] == "")
                try await delivery.acknowledge()
            }
        }
    }

    @Test func throughputOfConcurrentPublishes() async throws {
        let publisher = RabbitPublisher(try await freshBroker(), queue)
        try await running(publisher) {
            try await connected(publisher)
            try await publisher.publish(1...1, to: "chat_queue")
            for concurrency in [1, 16, 256] {
                let total = concurrency == 1 ? 200 : 4000
                let began = ContinuousClock.now
                await withTaskGroup(of: Void.self) { group in
                    for lane in 0..<concurrency {
                        group.addTask {
                            for number in 0..<(total / concurrency) {
                                let message = OutgoingMessage(
                                    queue: "chat_queue", body: [UInt8](repeating: 7, count: 600),
                                    id: "\(lane).\(number)")
                                await #expect(throws: Never.self) { try await publisher.publish(message) }
                            }
                        }
                    }
                }
                let seconds = (ContinuousClock.now - began) / .seconds(1)
                print("confirmed publishes of 600 bytes, \(concurrency) at a time: \(Int(Double(total) / seconds))/s")
            }
        }
    }

    private func publishTogether(_ count: Int, with publisher: RabbitPublisher) async -> [RabbitError?: Int] {
        await withTaskGroup(of: RabbitError?.self) { group in
            for number in 0..<count {
                group.addTask {
                    do throws(RabbitError) {
                        try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [], id: "\(number)"))
                        return nil
                    } catch { return error }
                }
            }
            return await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
    }
}
