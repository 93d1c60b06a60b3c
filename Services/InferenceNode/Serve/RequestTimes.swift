import LlamaEngine

/// The times of the requests at a node, from which its histograms follow. Pure: it is told when things happen.
struct RequestTimes {
    typealias Instant = ContinuousClock.Instant

    /// What a request's news say about time.
    enum Observation: Equatable {
        /// From arrival to the first step.
        case queued(Duration, promptTokens: Int)
        /// From arrival to the first token, and the part of it that came after the first step.
        case firstToken(Duration, prefill: Duration)
        /// Between two tokens, `count` times: tokens of one step share the time since the step before.
        case betweenTokens(Duration, count: Int)
        /// From arrival, and from the first token if there was one.
        case ended(FinishReason, Duration, decode: Duration?)
    }

    fileprivate struct Times {
        let arrival: Instant
        let promptTokens: Int
        var begun: Instant?
        var firstToken: Instant?
        var lastToken: Instant?
    }

    private var requests: [UInt64: Times] = [:]

    var count: Int { requests.count }

    mutating func arrive(_ request: UInt64, promptTokens: Int, at now: Instant) {
        requests[request] = Times(arrival: now, promptTokens: promptTokens)
    }

    mutating func forget(_ request: UInt64) { requests[request] = nil }

    mutating func begin(_ request: UInt64, at now: Instant) -> Observation? {
        guard var times = requests[request], times.begun == nil else { return nil }
        times.begun = now
        requests[request] = times
        return .queued(times.arrival.duration(to: now), promptTokens: times.promptTokens)
    }

    /// One step's events, those of a request beside each other or not.
    mutating func take(_ events: [TokenEvent], at now: Instant, _ observe: (Observation) -> Void) {
        var index = events.startIndex
        while index < events.endIndex {
            let request = events[index].request
            var tokens = 0
            var finish: FinishReason?
            while index < events.endIndex, events[index].request == request {
                if events[index].token != TokenEvent.none { tokens += 1 }
                finish = events[index].finish ?? finish
                index += 1
            }
            guard var times = requests[request] else { continue }
            if tokens > 0 {
                times.take(tokens, at: now, observe)
                requests[request] = times
            }
            guard let finish else { continue }
            requests[request] = nil
            observe(
                .ended(finish, times.arrival.duration(to: now), decode: times.firstToken.map { $0.duration(to: now) }))
        }
    }
}

extension RequestTimes.Times {
    fileprivate mutating func take(
        _ tokens: Int, at now: RequestTimes.Instant, _ observe: (RequestTimes.Observation) -> Void
    ) {
        if let lastToken {
            observe(.betweenTokens(lastToken.duration(to: now) / tokens, count: tokens))
        } else {
            firstToken = now
            observe(
                .firstToken(arrival.duration(to: now), prefill: (begun ?? arrival).duration(to: now)))
            // The others of the first step came with it.
            if tokens > 1 { observe(.betweenTokens(.zero, count: tokens - 1)) }
        }
        lastToken = now
    }
}
