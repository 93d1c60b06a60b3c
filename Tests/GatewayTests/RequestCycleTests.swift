import HTTPTypes
import NIOCore
import Testing

@testable import gateway

@Suite struct RequestCycleTests {
    private func head(_ length: Int? = nil, path: String = "/", closes: Bool = false) -> HTTPRequest {
        var head = HTTPRequest(method: .post, scheme: "http", authority: "x", path: path)
        if let length { head.headerFields[.contentLength] = "\(length)" }
        if closes { head.headerFields[.connection] = "Close" }
        return head
    }

    /// A cycle that has taken these parts, with what it said of each.
    private func steps(_ cycle: inout RequestCycle, _ parts: RequestCycle.Part...) -> [RequestCycle.Step] {
        parts.forEach { cycle.receive($0) }
        var steps: [RequestCycle.Step] = []
        while let step = cycle.next(mayBegin: true) { steps.append(step) }
        return steps
    }

    @Test func aShortBodyIsCollected() {
        var cycle = RequestCycle()
        #expect(steps(&cycle, .head(.init(request: head(4)))) == [.none])
        #expect(steps(&cycle, .body(ByteBuffer(string: "ab"))) == [.none])
        #expect(
            steps(&cycle, .body(ByteBuffer(string: "cd")), .end) == [
                .none, .answer(head(4), ByteBuffer(string: "abcd")),
            ])
        #expect(cycle.isAnswering && cycle.phase == .answering)
        #expect(cycle.answerEnded(closes: false) == .proceed)
        #expect(cycle.isIdle)
    }

    @Test(arguments: [RequestCycle.collectedBody + 1, nil])
    func aLongBodyIsReadWhileItIsAnswered(_ length: Int?) {
        var head = head(length)
        if length == nil { head.headerFields[.transferEncoding] = "chunked" }
        var cycle = RequestCycle()
        #expect(steps(&cycle, .head(.init(request: head))) == [.answerWhileReading(head)])
        #expect(steps(&cycle, .body(ByteBuffer(string: "ab"))) == [.feed(ByteBuffer(string: "ab"))])
        #expect(steps(&cycle, .end) == [.endBody])
        #expect(cycle.answerEnded(closes: false) == .proceed)
    }

    @Test func aLengthThatNoNumberHoldsIsNoShortBody() {
        for length in ["9223372036854775808", "18446744073709551615"] {
            var head = head()
            head.headerFields[.contentLength] = length
            var cycle = RequestCycle()
            #expect(steps(&cycle, .head(.init(request: head))) == [.answerWhileReading(head)])
            #expect(cycle.isUsedUp)
        }
    }

    @Test func theRestOfABodyThatWasAnsweredEarlyIsDropped() {
        var cycle = RequestCycle()
        _ = steps(&cycle, .head(.init(request: head(1 << 20))))
        #expect(cycle.answerEnded(closes: false) == .proceed)
        #expect(steps(&cycle, .body(ByteBuffer(string: "ab")), .end) == [.none, .none])
        #expect(
            steps(&cycle, .head(.init(request: head(path: "/next"))), .end)
                == [.none, .answer(head(path: "/next"), ByteBuffer())])
    }

    @Test func aBodyThatNobodyWantsIsDroppedUpToABound() {
        var head = head()
        head.headerFields[.transferEncoding] = "chunked"
        for closes in [false, true] {
            var cycle = RequestCycle()
            _ = steps(&cycle, .head(.init(request: head)))
            #expect(cycle.answerEnded(closes: closes) == (closes ? .linger : .proceed))
            let chunk = ByteBuffer(repeating: 120, count: 1 << 18)
            #expect(
                steps(&cycle, .body(chunk), .body(chunk), .body(chunk), .body(chunk)) == [.none, .none, .none, .none])
            #expect(steps(&cycle, .body(ByteBuffer(string: "x"))) == [.close])
        }
        // One that ends before that goes with its connection, or leaves it usable.
        for closes in [false, true] {
            var cycle = RequestCycle()
            _ = steps(&cycle, .head(.init(request: head)))
            _ = cycle.answerEnded(closes: closes)
            #expect(steps(&cycle, .end) == [closes ? .close : .none])
        }
    }

    @Test func whatComesBeforeTheAnswerWaitsForIt() {
        var cycle = RequestCycle()
        _ = steps(&cycle, .head(.init(request: head())), .end)
        #expect(cycle.appetite == 0)
        #expect(steps(&cycle, .head(.init(request: head(path: "/next"))), .end) == [])
        #expect(cycle.answerEnded(closes: false) == .proceed)
        #expect(cycle.next(mayBegin: false) == nil)
        #expect(steps(&cycle) == [.none, .answer(head(path: "/next"), ByteBuffer())])
    }

    @Test func manyHeldRequestsAreEachTakenOnce() {
        var cycle = RequestCycle()
        let count = 14_000
        for number in 0..<count {
            cycle.receive(.head(.init(request: head(path: "/\(number)"))))
            cycle.receive(.end)
        }
        var taken = 0
        for number in 0..<count {
            while let step = cycle.next(mayBegin: true) {
                taken += 1
                if case .answer(let head, _) = step { #expect(head.path == "/\(number)") }
            }
            #expect(cycle.answerEnded(closes: false) == .proceed)
        }
        #expect(taken == 2 * count)
        #expect(cycle.isIdle)
    }

    @Test func onlyWhatBelongsToTheRequestIsDecoded() {
        var cycle = RequestCycle()
        let some = cycle.appetite
        #expect((1...4096).contains(some), "a few requests at most")
        _ = steps(&cycle, .head(.init(request: head(500_000))))
        #expect(cycle.appetite == 500_000)
        _ = steps(&cycle, .body(ByteBuffer(repeating: 120, count: 499_999)))
        #expect(cycle.appetite == 1)
        _ = steps(&cycle, .body(ByteBuffer(repeating: 120, count: 1)), .end)
        #expect(cycle.appetite == 0)
        _ = cycle.answerEnded(closes: false)
        #expect(cycle.appetite == some)
    }

    @Test func whoWaitsForLeaveToSendIsAskedOnce() {
        var head = head(4)
        head.headerFields[.expect] = "100-continue"
        var asked = RequestCycle()
        #expect(steps(&asked, .head(.init(request: head))) == [.answerWhileReading(head)])
        #expect(asked.isUsedUp)
        let answers = [asked.takeContinue(), asked.takeContinue()]
        #expect(answers == [true, false])
        #expect(!asked.isUsedUp)

        // Who does not wait is not asked; who is refused may send it or not.
        var impatient = RequestCycle()
        _ = steps(&impatient, .head(.init(request: head)), .body(ByteBuffer(string: "ab")))
        let isTooLate = !impatient.takeContinue()
        #expect(isTooLate)
        var refused = RequestCycle()
        _ = steps(&refused, .head(.init(request: head)))
        #expect(refused.answerEnded(closes: true) == .close)
        var old = RequestCycle()
        _ = steps(&old, .head(.init(request: head, isHTTP10: true)))
        let knowsNone = !old.takeContinue()
        #expect(knowsNone)
    }

    @Test func aBodyThatIsGivenUpIsAnsweredAndThenDropped() {
        var collecting = RequestCycle()
        _ = steps(&collecting, .head(.init(request: head(4))), .body(ByteBuffer(string: "ab")))
        #expect(collecting.giveUpBody() == .answer(head(4)))
        var feeding = RequestCycle()
        _ = steps(&feeding, .head(.init(request: head(1 << 20))))
        #expect(feeding.giveUpBody() == .tellReader)
        for var cycle in [collecting, feeding] {
            // Nothing is expected of the client until it has its answer.
            #expect(cycle.isAnswering && cycle.isLast && cycle.phase == .answering && cycle.appetite == 0)
            #expect(cycle.giveUpBody() == nil)
            #expect(cycle.answerEnded(closes: true) == .linger)
            #expect(cycle.phase == .lingering && cycle.appetite > 0)
            #expect(steps(&cycle, .body(ByteBuffer(string: "cd")), .end) == [.none, .close])
        }
        // Nobody waits for it.
        var idle = RequestCycle()
        #expect(idle.giveUpBody() == nil)
        var answered = RequestCycle()
        _ = steps(&answered, .head(.init(request: head(1 << 20))))
        _ = answered.answerEnded(closes: false)
        #expect(answered.giveUpBody() == nil)
    }

    @Test func theConnectionEndsWhenEitherSideSaysSo() {
        var asked = RequestCycle()
        _ = steps(&asked, .head(.init(request: head(closes: true))), .end)
        #expect(asked.isLast)
        #expect(asked.answerEnded(closes: false) == .close)

        var told = RequestCycle()
        _ = steps(&told, .head(.init(request: head())), .end)
        #expect(told.answerEnded(closes: true) == .close)

        var old = RequestCycle()
        _ = steps(&old, .head(.init(request: head(), isHTTP10: true)), .end)
        #expect(old.answersHTTP10)
        #expect(old.answerEnded(closes: false) == .close)

        var left = RequestCycle()
        _ = steps(&left, .head(.init(request: head())), .end)
        left.inputEnded()
        #expect(left.answerEnded(closes: false) == .close)
    }
}
