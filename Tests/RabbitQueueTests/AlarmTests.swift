import ServiceKit
import TestServers
import Testing

@testable import RabbitQueue

/// A broker that is short of memory.
@Suite struct AlarmTests {
    private let queue = QueueDeclaration.work("chat_queue")

    @Test func publishesAreRefusedAtOnceAndGoOnWhenTheAlarmEnds() async throws {
        let server = try await TestServers.startRabbit()
        var configuration = try RabbitConfiguration(uri: server.endpoint.uri)
        // Whoever waits for a confirm would wait as long as the test does.
        configuration.confirmTimeout = .seconds(600)
        let publisher = RabbitPublisher(configuration, queue)
        let consumer = RabbitConsumer(configuration, queue, prefetch: 100)
        try await running(publisher, consumer) {
            try await connected(publisher)
            try await connected(consumer)
            try await publisher.publish(1...1, to: "chat_queue")
            let taken = try await Taker(consumer).next()
            #expect(publisher.takesMessages && publisher.reluctance == nil)

            try await server.ask("set_vm_memory_high_watermark", "absolute", "1")
            // Nobody publishes: it is noticed all the same.
            try await eventually("the alarm is known") { publisher.link.isBlocked }
            #expect(publisher.isConnected && !publisher.takesMessages)
            #expect(publisher.reluctance?.contains("memory or disk") == true)
            await #expect(throws: RabbitError.blocked(wasSent: false)) {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [], id: "2"))
            }
            await #expect(throws: RabbitError.blocked(wasSent: false)) { try await publisher.ping() }
            // What is held stays held, and can be done with.
            #expect(taken.isLive)
            try await taken.acknowledge()

            try await server.ask("set_vm_memory_high_watermark", "0.4")
            try await eventually("it takes messages again") {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [], id: "3"))
                return true
            }
            #expect(publisher.takesMessages)
        }
        try await server.stop()
    }

    /// What was sent before the broker said it.
    @Test func aPublishInFlightDoesNotWaitForTheAlarmsEnd() async throws {
        let server = try await TestServers.startRabbit()
        var configuration = try RabbitConfiguration(uri: server.endpoint.uri)
        configuration.confirmTimeout = .seconds(600)
        let publisher = RabbitPublisher(configuration, queue)
        let consumer = RabbitConsumer(configuration, queue, prefetch: 100)
        try await running(publisher) {
            try await connected(publisher)
            // Publishes until one meets the alarm on its way, or after it.
            let meeting = Task { () -> RabbitError? in
                var number = 0
                while !Task.isCancelled {
                    number += 1
                    do throws(RabbitError) {
                        try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [], id: "\(number)"))
                    } catch .rejected {
                        continue
                    } catch {
                        return error
                    }
                }
                return nil
            }
            try await server.ask("set_vm_memory_high_watermark", "absolute", "1")
            let met = await meeting.value
            #expect(met == .blocked(wasSent: true) || met == .blocked(wasSent: false))
            try await server.ask("set_vm_memory_high_watermark", "0.4")
            try await eventually("the confirms that come late disturb nobody") {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [], id: "last"))
                return true
            }
            try await running(consumer) {
                let taker = Taker(consumer)
                while true {
                    let delivery = try await taker.next()
                    try await delivery.acknowledge()
                    if delivery.id == "last" { break }
                }
            }
        }
        try await server.stop()
    }
}
