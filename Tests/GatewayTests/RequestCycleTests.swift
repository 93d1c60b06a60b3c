import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Testing

@testable import gateway

@Suite struct RequestCycleTests {
    private func head(_ length: Int? = nil, path: String = "/", closes: Bool = false) -> HTTPRequest {
        var head = HTTPRequest(method: .post, scheme: "http", authority: "x", path: path)
        if let length { head.headerFields[.contentLength] = "\(length)" }
        if closes { head.headerFields[.connection] = "Close" }
        return head
    }

    @Test func aShortBodyIsCollected() {
        var cycle = RequestCycle()
        #expect(cycle.receive(.head(head(4))) == .none)
        #expect(cycle.receive(.body(ByteBuffer(string: "ab"))) == .none)
        #expect(cycle.receive(.body(ByteBuffer(string: "cd"))) == .none)
        #expect(cycle.receive(.end(nil)) == .answer(head(4), ByteBuffer(string: "abcd")))
        #expect(cycle.isAnswering)
        #expect(cycle.answerEnded(closes: false) == .proceed([]))
    }

    @Test(arguments: [RequestCycle.collectedBody + 1, nil])
    func aLongBodyIsReadWhileItIsAnswered(_ length: Int?) {
        var head = head(length)
        if length == nil { head.headerFields[.transferEncoding] = "chunked" }
        var cycle = RequestCycle()
        #expect(cycle.receive(.head(head)) == .answerWhileReading(head))
        #expect(cycle.receive(.body(ByteBuffer(string: "ab"))) == .feed(ByteBuffer(string: "ab")))
        #expect(cycle.receive(.end(nil)) == .endBody)
        #expect(cycle.answerEnded(closes: false) == .proceed([]))
    }

    @Test func theRestOfABodyThatWasAnsweredEarlyIsDropped() {
        var cycle = RequestCycle()
        _ = cycle.receive(.head(head(1 << 20)))
        #expect(cycle.answerEnded(closes: false) == .proceed([]))
        #expect(cycle.receive(.body(ByteBuffer(string: "ab"))) == .none)
        #expect(cycle.receive(.end(nil)) == .none)
        _ = cycle.receive(.head(head(path: "/next")))
        #expect(cycle.receive(.end(nil)) == .answer(head(path: "/next"), ByteBuffer()))
    }

    @Test func whatComesBeforeTheAnswerWaitsForIt() {
        var cycle = RequestCycle()
        _ = cycle.receive(.head(head()))
        _ = cycle.receive(.end(nil))
        #expect(cycle.mayRead)
        #expect(cycle.receive(.head(head(path: "/next"))) == .hold)
        #expect(!cycle.mayRead)
        #expect(cycle.receive(.end(nil)) == .hold)
        #expect(cycle.answerEnded(closes: false) == .proceed([.head(head(path: "/next")), .end(nil)]))
        #expect(cycle.mayRead)
        _ = cycle.receive(.head(head(path: "/next")))
        #expect(cycle.receive(.end(nil)) == .answer(head(path: "/next"), ByteBuffer()))
    }

    @Test func theConnectionEndsWhenEitherSideSaysSo() {
        var asked = RequestCycle()
        _ = asked.receive(.head(head(closes: true)))
        _ = asked.receive(.end(nil))
        #expect(asked.answerEnded(closes: false) == .close)

        var told = RequestCycle()
        _ = told.receive(.head(head()))
        _ = told.receive(.end(nil))
        #expect(told.answerEnded(closes: true) == .close)

        var left = RequestCycle()
        _ = left.receive(.head(head()))
        _ = left.receive(.end(nil))
        left.inputEnded()
        #expect(left.answerEnded(closes: false) == .close)
    }
}
