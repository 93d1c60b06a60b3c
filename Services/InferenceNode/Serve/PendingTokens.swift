import ChatCore
import LlamaEngine

/// What the engine has given out and what has not been sent yet: one entry for each request, however many steps it takes to
/// send. Bounded: an entry for each request in progress, and all tokens together by `maximumTokens`. Beyond that a request's
/// tokens are forgotten, which its orchestrator sees as a gap. An end is never forgotten: nobody would ask for it.
struct PendingTokens {
    /// Of all requests together; 16 MiB.
    static let maximumTokens = 4 << 20
    /// Answers to orders that are not in the table. One that finds no room is missed, and its order is repeated.
    static let maximumReplies = 1024

    struct Entry {
        /// Index of `tokens[0]` in the turn; nil when there was nothing but a question after the request.
        var first: Int?
        var tokens: [Int32] = []
        var end: TokenBatch.End?
    }

    struct Reply {
        let orchestrator: String
        let item: TokenBatch.Item
    }

    private(set) var entries: [(request: UInt64, entry: Entry)] = []
    private(set) var replies: [Reply] = []
    /// Requests whose end waits here.
    private(set) var ends = 0
    private var places: [UInt64: Int] = [:]
    private var tokens = 0

    /// Takes the events of one or some engine steps, those of each request in the order of their indexes.
    mutating func add(_ events: [TokenEvent], maximumTokens: Int = PendingTokens.maximumTokens) {
        for event in events {
            let place = place(of: event.request)
            if event.token >= 0 { append(event, at: place, maximumTokens) }
            guard let finish = event.finish else { continue }
            if entries[place].entry.first == nil { entries[place].entry.first = max(event.index, 0) }
            if entries[place].entry.end == nil { ends += 1 }
            entries[place].entry.end = TokenBatch.End(finish.onTheWire, reason: event.reason ?? "")
        }
    }

    private mutating func append(_ event: TokenEvent, at place: Int, _ maximumTokens: Int) {
        let index = max(event.index, 0)
        let known = entries[place].entry.tokens.count
        if tokens >= maximumTokens || (known > 0 && entries[place].entry.first != index - known) {
            // What follows comes after a gap.
            tokens -= known
            entries[place].entry.tokens = []
        }
        guard tokens < maximumTokens else {
            entries[place].entry.first = index + 1
            return
        }
        if entries[place].entry.tokens.isEmpty { entries[place].entry.first = index }
        entries[place].entry.tokens.append(event.token)
        tokens += 1
    }

    /// Somebody asks whether the request is still worked on: it is named in what is sent next, with or without tokens.
    mutating func ask(after request: UInt64) { _ = place(of: request) }

    /// - Returns: false when there are too many already.
    mutating func add(_ reply: Reply) -> Bool {
        guard replies.count < PendingTokens.maximumReplies else { return false }
        replies.append(reply)
        return true
    }

    private mutating func place(of request: UInt64) -> Int {
        if let place = places[request] { return place }
        places[request] = entries.count
        entries.append((request, Entry()))
        return entries.count - 1
    }
}

extension FinishReason {
    fileprivate var onTheWire: TokenBatch.End.Kind {
        switch self {
        case .stop: .stop
        case .length: .length
        case .cancelled: .cancelled
        case .interrupted: .unavailable
        case .failed, .diverged: .failed
        }
    }
}
