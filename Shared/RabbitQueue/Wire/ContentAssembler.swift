/// Joins a method that carries content with its header and its body frames. Pure.
///
/// On one channel nothing but the rest of a content may come between its frames, so one is in the making at a time.
struct ContentAssembler {
    struct Content: Sendable, Equatable {
        var method: IncomingMethod
        var header: ContentHeader
        var body: [UInt8]
        /// The body was larger than allowed and was thrown away as it came.
        var isOversized: Bool
    }

    private enum State {
        case idle
        case awaitsHeader(IncomingMethod)
        case awaitsBody(Content, missing: UInt64)
    }

    private let maximumBodyBytes: Int
    private var state = State.idle

    init(maximumBodyBytes: Int) { self.maximumBodyBytes = maximumBodyBytes }

    mutating func method(_ method: IncomingMethod) throws(RabbitError) {
        guard case .idle = state else { throw .protocolViolation("method within a content") }
        if method.hasContent { state = .awaitsHeader(method) }
    }

    mutating func header(_ header: ContentHeader) throws(RabbitError) -> Content? {
        guard case .awaitsHeader(let method) = state else { throw .protocolViolation("header without its method") }
        let content = Content(
            method: method, header: header, body: [], isOversized: header.bodySize > UInt64(maximumBodyBytes))
        return advance(content, missing: header.bodySize)
    }

    mutating func body(_ fragment: [UInt8]) throws(RabbitError) -> Content? {
        guard case .awaitsBody(var content, let missing) = state else {
            throw .protocolViolation("body without its header")
        }
        guard UInt64(fragment.count) <= missing else { throw .protocolViolation("body longer than announced") }
        // The state gives its copy up first, so that appending does not copy the whole body for each frame.
        state = .idle
        if !content.isOversized { content.body += fragment }
        return advance(content, missing: missing - UInt64(fragment.count))
    }

    private mutating func advance(_ content: Content, missing: UInt64) -> Content? {
        state = missing == 0 ? .idle : .awaitsBody(content, missing: missing)
        return missing == 0 ? content : nil
    }
}
