import ServiceKit
import Testing

@Suite struct MailboxTests {
    @Test func deliversInOrderAndEndsWhenClosed() async {
        let mailbox = Mailbox<Int>(capacity: 1000)
        let reader = Task {
            var all: [Int] = []
            while let delivery = await mailbox.receive() { all += delivery.elements }
            return all
        }
        for number in 0..<500 { #expect(mailbox.send(number)) }
        mailbox.close()
        #expect(await reader.value == Array(0..<500))
        #expect(!mailbox.send(1))
    }

    @Test func aFullMailboxRefusesAndSaysSo() async {
        let mailbox = Mailbox<Int>(capacity: 2)
        #expect(mailbox.send(1) && mailbox.send(2))
        #expect(!mailbox.send(3))
        let first = await mailbox.receive()
        #expect(first?.elements == [1, 2])
        #expect(first?.hasGap == true)
        #expect(mailbox.send(4))
        #expect(await mailbox.receive()?.hasGap == false)
    }

    @Test func aCancelledReaderLeaves() async {
        let mailbox = Mailbox<Int>(capacity: 1)
        let reader = Task { await mailbox.receive() == nil }
        reader.cancel()
        #expect(await reader.value)
    }

    @Test func aReaderThatHoldsItsMailGetsItTogether() async throws {
        let mailbox = Mailbox<Int>(capacity: 8)
        mailbox.send(1, isUrgent: false)
        #expect(await mailbox.receive()?.elements == [1])
        mailbox.hold()
        mailbox.send(2, isUrgent: false)
        let reader = Task { await mailbox.receive()?.elements }
        mailbox.send(3, isUrgent: false)
        mailbox.release()
        #expect(await reader.value == [2, 3])
    }

    @Test func whatIsUrgentTakesAlongWhatWaits() async throws {
        let mailbox = Mailbox<Int>(capacity: 8)
        mailbox.hold()
        mailbox.send(1, isUrgent: false)
        mailbox.send(2)
        #expect(await mailbox.receive()?.elements == [1, 2])
        // It is still held: the next one waits again.
        mailbox.send(3, isUrgent: false)
        mailbox.send(4)
        #expect(await mailbox.receive()?.elements == [3, 4])
    }

    @Test func aFullOrClosedMailboxDoesNotHold() async throws {
        let mailbox = Mailbox<Int>(capacity: 1)
        mailbox.hold()
        #expect(mailbox.send(1, isUrgent: false))
        #expect(!mailbox.send(2, isUrgent: false))
        let delivery = try #require(await mailbox.receive())
        #expect(delivery.elements == [1] && delivery.hasGap)
        mailbox.send(3, isUrgent: false)
        mailbox.close()
        #expect(await mailbox.receive()?.elements == [3])
        #expect(await mailbox.receive() == nil)
    }

    @Test func nothingIsDueWhenNothingCameMeanwhile() async throws {
        let mailbox = Mailbox<Int>(capacity: 1)
        mailbox.hold()
        mailbox.release()
        let reader = Task { await mailbox.receive()?.elements }
        mailbox.send(1, isUrgent: false)
        #expect(await reader.value == [1])
    }
}
