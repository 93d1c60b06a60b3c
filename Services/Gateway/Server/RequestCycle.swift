import DequeModule
import HTTPTypes
import NIOCore

/// What one connection's requests have come to: says what is to be done with each part that arrives. Pure.
///
/// Requests are answered one after the other. What a client sends of the next ones before it has its answer waits here;
/// `appetite` keeps it short.
struct RequestCycle {
    /// The head of a request, and what of the old protocol its fields do not say.
    struct Head: Equatable {
        let request: HTTPRequest
        /// HTTP/1.0: no chunks in the answer, and the connection ends with it.
        var isHTTP10 = false
    }

    enum Part: Equatable {
        case head(Head)
        case body(ByteBuffer)
        case end
    }

    enum Step: Equatable {
        case none
        /// Answer the request; its body is there as a whole.
        case answer(HTTPRequest, ByteBuffer)
        /// Answer the request; its body comes with `feed`, up to `endBody`.
        case answerWhileReading(HTTPRequest)
        case feed(ByteBuffer)
        case endBody
        /// The connection's last answer was sent, and the body that came with its request is over or too long.
        case close
    }

    enum Continuation: Equatable {
        case close
        /// The answer was the last, but its request's body is still under way: it is dropped before the connection is
        /// closed. A socket that is closed over unread bytes is reset, and the client may lose the answer.
        case linger
        case proceed
    }

    /// Who says that a body is not waited for any longer.
    enum Abandonment: Equatable {
        /// Nobody has the request yet: whoever gives the body up answers it.
        case answer(HTTPRequest)
        /// The request is being answered: whoever reads its body is to be told.
        case tellReader
    }

    /// What a client is at, for the clock that bounds it.
    enum Phase: Equatable {
        /// Nothing of a request is there, or a part of its head.
        case idle
        /// A body is under way.
        case body
        /// The request is there, the answer is not.
        case answering
        case lingering
    }

    private enum Input: Equatable {
        case idle
        /// A short body that is waited for before anybody is troubled with the request.
        case collecting(HTTPRequest, ByteBuffer)
        case feeding
        /// Nobody wants the rest of the body, of which so many bytes were dropped.
        case discarding(Int)
        /// The request has come to its end.
        case complete
    }

    /// Bodies up to this size (bytes) are collected; a longer one is read only as its reader asks for it, so that whoever
    /// has no key cannot make us hold more.
    static let collectedBody = 16 << 10
    /// Bytes of a body that nobody wants which are read for the sake of the next request, or of the answer's arrival.
    static let maximumDiscarded = 1 << 20
    /// Bytes that are decoded at a time between bodies, whose ends are known: some fifty of the shortest requests.
    private static let slice = 1 << 10
    private static let chunkedSlice = 16 << 10

    private var input = Input.idle
    private(set) var isAnswering = false
    private var held: Deque<Part> = []
    /// Bytes of the body that are still to come; nil when only its end tells.
    private var remaining: Int? = 0
    /// The client waits for leave to send the body.
    private(set) var awaitsContinue = false
    /// The answer under way is for a client of HTTP/1.0.
    private(set) var answersHTTP10 = false
    /// The answer under way is the connection's last: the request asked for its end, or the client has ended its side.
    private(set) var isLast = false
    private var isLingering = false

    /// The rest of the body is not waited for, and not read either before the answer is sent: of any other body that nobody
    /// wants, the answer is over.
    private var isBodyGivenUp: Bool {
        if case .discarding = input { isAnswering } else { false }
    }

    // MARK: What comes

    /// Bytes that may be decoded now: none while an answer is waited for, so that hardly anything has to be held; else what
    /// is certain to belong to this request, or a little.
    var appetite: Int {
        guard held.isEmpty, !isBodyGivenUp else { return 0 }
        switch input {
        case .complete: return 0
        case .idle: return RequestCycle.slice
        case .collecting, .feeding, .discarding: return remaining.map { max($0, 1) } ?? RequestCycle.chunkedSlice
        }
    }

    var phase: Phase {
        if isLingering { return .lingering }
        switch input {
        case .collecting, .feeding, .discarding: return isBodyGivenUp ? .answering : .body
        case .idle, .complete: return isAnswering ? .answering : .idle
        }
    }

    /// Whether nothing of a request is here.
    var isIdle: Bool { phase == .idle && held.isEmpty }

    mutating func receive(_ part: Part) { held.append(part) }

    /// What is to be done next; nil when the answer under way has to end first, or there is nothing.
    /// - Parameter mayBegin: whether there is room for one more answer on the connection.
    mutating func next(mayBegin: Bool) -> Step? {
        guard let part = held.first, !(isAnswering && input == .complete) else { return nil }
        if case .head = part, !mayBegin { return nil }
        held.removeFirst()
        switch part {
        case .head(let head): return begin(head)
        case .body(let bytes): return take(bytes)
        case .end: return endInput()
        }
    }

    private mutating func begin(_ head: Head) -> Step {
        let fields = head.request.headerFields
        if head.isHTTP10 || fields[values: .connection].contains(where: RequestCycle.namesClose) { isLast = true }
        answersHTTP10 = head.isHTTP10
        let isChunked = fields[.transferEncoding] != nil
        // What no Int holds is no short body.
        let length = fields[.contentLength].map { Int($0) ?? .max } ?? 0
        remaining = isChunked ? nil : length
        awaitsContinue = !head.isHTTP10 && fields[.expect] != nil && (isChunked || length > 0)
        guard isChunked || length > RequestCycle.collectedBody || awaitsContinue else {
            input = .collecting(head.request, ByteBuffer())
            return .none
        }
        isAnswering = true
        input = .feeding
        return .answerWhileReading(head.request)
    }

    private static func namesClose(_ value: String) -> Bool {
        value.split(separator: ",").contains { $0.trimmingPrefix { $0 == " " || $0 == "\t" }.lowercased() == "close" }
    }

    private mutating func take(_ bytes: ByteBuffer) -> Step {
        remaining = remaining.map { max(0, $0 - bytes.readableBytes) }
        awaitsContinue = false
        switch input {
        case .collecting(let head, var body):
            input = .idle  // so that the bytes are added in place
            body.writeImmutableBuffer(bytes)
            input = .collecting(head, body)
        case .feeding: return .feed(bytes)
        case .discarding(let dropped):
            let dropped = dropped + bytes.readableBytes
            guard dropped <= RequestCycle.maximumDiscarded else { return .close }
            input = .discarding(dropped)
        case .idle, .complete: break
        }
        return .none
    }

    private mutating func endInput() -> Step {
        let before = input
        input = .complete
        remaining = 0
        awaitsContinue = false
        // A stream goes on for long, and holds nothing meanwhile.
        if held.isEmpty { held = [] }
        switch before {
        case .collecting(let head, let body):
            isAnswering = true
            return .answer(head, body)
        case .feeding: return .endBody
        case .discarding where isLingering: return .close
        case .idle, .discarding, .complete: if !isAnswering { input = .idle }
        }
        return .none
    }

    /// The client has ended its side; the answer under way is the last.
    mutating func inputEnded() {
        endAfterAnswer()
        held = []
        switch input {
        case .feeding, .discarding, .collecting: input = .complete
        case .idle, .complete: break
        }
    }

    /// The answer under way is the connection's last.
    mutating func endAfterAnswer() { isLast = true }

    /// The body under way is not waited for any longer; the answer, which is due, is the connection's last.
    /// - Returns: whose the answer is; nil when no body is under way, or nobody wants it.
    mutating func giveUpBody() -> Abandonment? {
        let abandonment: Abandonment
        switch input {
        case .collecting(let head, _):
            isAnswering = true
            abandonment = .answer(head)
        case .feeding: abandonment = .tellReader
        case .idle, .discarding, .complete: return nil
        }
        input = .discarding(0)
        awaitsContinue = false
        endAfterAnswer()
        return abandonment
    }

    // MARK: What is answered

    /// Whether the client is to be asked for the body now: it waits for that, and was not asked before.
    mutating func takeContinue() -> Bool { defer { awaitsContinue = false }; return awaitsContinue && isAnswering }

    /// Whether the connection cannot be used any more after an answer that comes now: a body that nobody has asked for may
    /// come or not, and one that is too long is not waited for.
    var isUsedUp: Bool {
        input == .feeding && (awaitsContinue || remaining.map { $0 > RequestCycle.maximumDiscarded } == true)
    }

    /// - Parameter closes: the answer said that it is the last.
    mutating func answerEnded(closes: Bool) -> Continuation {
        isAnswering = false
        if closes { isLast = true }
        let mayCome = !awaitsContinue
        switch input {
        case .complete: input = .idle
        case .feeding: input = .discarding(0)
        case .idle, .collecting, .discarding: break
        }
        guard isLast else { return .proceed }
        guard case .discarding = input, mayCome else { return .close }
        isLingering = true
        return .linger
    }
}
