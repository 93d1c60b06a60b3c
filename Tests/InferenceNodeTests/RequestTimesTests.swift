import LlamaEngine
import Testing

@testable import inference_node

@Suite struct RequestTimesTests {
    private let start = ContinuousClock.now
    private typealias Observation = RequestTimes.Observation

    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }

    private func token(_ request: UInt64, _ index: Int, _ finish: FinishReason? = nil) -> TokenEvent {
        TokenEvent(request: request, index: index, token: 7, finish: finish)
    }

    private func take(_ times: inout RequestTimes, _ events: [TokenEvent], at milliseconds: Int) -> [Observation] {
        var seen: [Observation] = []
        times.take(events, at: at(milliseconds)) { seen.append($0) }
        return seen
    }

    @Test func aRequestsTimesAddUp() {
        var times = RequestTimes()
        times.arrive(1, promptTokens: 12, at: at(0))
        #expect(times.begin(1, at: at(40)) == .queued(.milliseconds(40), promptTokens: 12))
        // After a preemption it begins no second time.
        #expect(times.begin(1, at: at(50)) == nil)
        #expect(take(&times, [token(1, 0)], at: 100) == [.firstToken(.milliseconds(100), prefill: .milliseconds(60))])
        #expect(take(&times, [token(1, 1)], at: 130) == [.betweenTokens(.milliseconds(30), count: 1)])
        // Two drafts came true: three tokens share the time since the last step.
        #expect(
            take(&times, [token(1, 2), token(1, 3), token(1, 4, .stop)], at: 190) == [
                .betweenTokens(.milliseconds(20), count: 3),
                .ended(.stop, .milliseconds(190), decode: .milliseconds(90)),
            ])
        #expect(times.count == 0)
        #expect(take(&times, [token(1, 5)], at: 200) == [])
    }

    @Test func requestsOfOneStepAreKeptApart() {
        var times = RequestTimes()
        for request in [UInt64(1), 2] { times.arrive(request, promptTokens: 1, at: at(0)) }
        #expect(
            take(&times, [token(1, 0), token(2, 0), token(2, 1, .length)], at: 10) == [
                .firstToken(.milliseconds(10), prefill: .milliseconds(10)),
                .firstToken(.milliseconds(10), prefill: .milliseconds(10)), .betweenTokens(.zero, count: 1),
                .ended(.length, .milliseconds(10), decode: .zero),
            ])
        #expect(times.count == 1)
    }

    @Test func whatEndsWithoutATokenHasNoDecode() {
        var times = RequestTimes()
        times.arrive(3, promptTokens: 1, at: at(0))
        let end = TokenEvent(request: 3, index: 0, token: TokenEvent.none, finish: .cancelled)
        #expect(take(&times, [end], at: 5) == [.ended(.cancelled, .milliseconds(5), decode: nil)])
        times.arrive(4, promptTokens: 1, at: at(6))
        times.forget(4)
        #expect(times.count == 0)
    }
}
