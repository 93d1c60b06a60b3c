import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// What one connection's requests have come to: says what is to be done with each part that arrives. Pure.
///
/// Requests are answered one after the other. What a client sends of the next one before it has its answer waits here,
/// and no more is read.
struct RequestCycle {
    enum Step: Equatable {
        case none
        /// Answer the request; its body is there as a whole.
        case answer(HTTPRequest, ByteBuffer)
        /// Answer the request; its body comes with `feed`, up to `endBody`.
        case answerWhileReading(HTTPRequest)
        case feed(ByteBuffer)
        case endBody
        /// The part belongs to the next request: it is kept, and nothing more is to be read until the answer has ended.
        case hold
    }

    enum Continuation: Equatable {
        case close
        /// Take these parts as if they came now, then read on.
        case proceed([HTTPRequestPart])
    }

    private enum Input: Equatable {
        case idle
        /// A short body that is waited for before anybody is troubled with the request.
        case collecting(HTTPRequest, ByteBuffer)
        case feeding
        /// Nobody wants the rest of the body.
        case discarding
        /// The request has come to its end.
        case complete
    }

    /// Bodies up to this size (bytes) are collected; a longer one is read only as its reader asks for it, so that whoever
    /// has no key cannot make us hold more.
    static let collectedBody = 16 << 10

    private var input = Input.idle
    private(set) var isAnswering = false
    private var held: [HTTPRequestPart] = []
    /// The request asked for the connection's end, or the client has ended its side of it.
    private var isLast = false

    /// Whether more may be read.
    var mayRead: Bool { held.isEmpty }

    mutating func receive(_ part: HTTPRequestPart) -> Step {
        if isAnswering, input == .complete || !held.isEmpty {
            held.append(part)
            return .hold
        }
        switch part {
        case .head(let head): return begin(head)
        case .body(let bytes):
            switch input {
            case .collecting(let head, var body):
                input = .idle  // so that the bytes are added in place
                body.writeImmutableBuffer(bytes)
                input = .collecting(head, body)
            case .feeding: return .feed(bytes)
            case .idle, .discarding, .complete: break
            }
        case .end:
            let before = input
            input = .complete
            switch before {
            case .collecting(let head, let body):
                isAnswering = true
                return .answer(head, body)
            case .feeding: return .endBody
            case .idle, .discarding, .complete: if !isAnswering { input = .idle }
            }
        }
        return .none
    }

    private mutating func begin(_ head: HTTPRequest) -> Step {
        if head.headerFields[values: .connection].contains(where: { $0.lowercased() == "close" }) { isLast = true }
        let isChunked = head.headerFields[.transferEncoding] != nil
        let length = head.headerFields[.contentLength].flatMap { Int($0) } ?? 0
        guard isChunked || length > RequestCycle.collectedBody else {
            input = .collecting(head, ByteBuffer())
            return .none
        }
        isAnswering = true
        input = .feeding
        return .answerWhileReading(head)
    }

    /// The client has ended its side; the answer under way is the last.
    mutating func inputEnded() {
        isLast = true
        held = []
    }

    /// - Parameter closes: the answer said that it is the last.
    mutating func answerEnded(closes: Bool) -> Continuation {
        isAnswering = false
        guard !closes, !isLast else { return .close }
        switch input {
        case .complete: input = .idle
        case .feeding: input = .discarding
        case .idle, .collecting, .discarding: break
        }
        defer { held = [] }
        return .proceed(held)
    }
}
