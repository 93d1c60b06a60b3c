import ChatCore
import Foundation
import Testing

/// Every number of every message in JSON, set to what a peer that is broken or hostile may write.
@Suite struct WireMessageTests {
    private static let extremes = [
        "-9223372036854775808", "9223372036854775807", "18446744073709551615", "-1", "0", "1e300", "0.5",
    ]

    private let id = TurnID("01903645-bb87-7000-8000-000000000000")

    private func turn() throws -> Turn {
        let id = try #require(id)
        return Turn(
            id: id, conversation: .init(owner: .init(tenant: "t", user: "u"), id: .init(firstTurn: id)),
            beginsConversation: true, kind: .stream, message: "Hi", system: nil, context: [], model: "m",
            sampling: .init(maxTokens: 5, temperature: 0.5, seed: 7), acceptedAt: 1_790_000_000_000,
            deadline: 1_790_000_300_000,
            degradation: .init(contextTokens: 512, requestedMaxTokens: 64, requestedModel: "large"))
    }

    private func outcome() throws -> TurnOutcome {
        let turn = try turn()
        return TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: .stream, status: .done,
            finishReason: .stop, error: nil, system: nil, message: "Hi", response: "Hello", eventEnds: [2, 5],
            usage: .init(promptTokens: 3, completionTokens: 2), model: "m", seed: 1, acceptedAt: turn.acceptedAt,
            firstTokenAt: turn.acceptedAt + 5, endedAt: turn.acceptedAt + 9, attempts: 1,
            degradation: turn.degradation,
            attemptLog: [.init(node: "n", epoch: 1_790_000_000_000_000, startedAt: turn.acceptedAt + 1)])
    }

    /// The message as it is, then with each number in turn replaced by each extreme.
    /// - Returns: how many of those were refused.
    private func mutate<Message: WireMessage & Equatable>(
        _ message: Message, _ use: (Message) -> Void = { _ in }
    ) throws -> (refused: Int, of: Int) {
        let text = String(decoding: try JSONEncoder().encode(message), as: UTF8.self)
        #expect(try Message(message: text.utf8) == message)
        var (refused, count) = (0, 0)
        // A number stands after a colon, a bracket or a comma; texts of the samples hold none of those with a digit behind.
        for number in text.matches(of: /[:\[,](-?[0-9][-+.eE0-9]*)/) {
            for extreme in WireMessageTests.extremes {
                let mutated = text.replacingCharacters(
                    in: number.output.1.startIndex..<number.output.1.endIndex, with: extreme)
                count += 1
                do { use(try Message(message: mutated.utf8)) } catch { refused += 1 }
            }
        }
        return (refused, count)
    }

    @Test func noNumberOfATurnTrapsWhoComputesWithIt() throws {
        let (refused, count) = try mutate(try turn()) { turn in
            // What services compute of it.
            #expect(WireBounds.times.contains(Int64(1_790_000_000_000).milliseconds(since: turn.acceptedAt)))
            #expect(turn.sampling.maxTokens > 0 && turn.sampling.topK >= 0)
            #expect(abs(turn.deadline - turn.acceptedAt) <= WireBounds.times.upperBound)
        }
        #expect(count > 60 && refused > count / 2)
    }

    @Test func noNumberOfAnOutcomeTrapsWhoComputesWithIt() throws {
        let (refused, count) = try mutate(try outcome()) { outcome in
            let end = TurnEnd(outcome: outcome)
            #expect(WireBounds.times.contains(end.duration) && end.usage.totalTokens >= 0)
        }
        #expect(count > 60 && refused > count / 2)
    }

    @Test func noNumberOfAJobOrAnEndOrAnOrderOrALoadTraps() throws {
        let turn = try turn()
        _ = try mutate(TurnEnd(outcome: try outcome(), engineFirstToken: 1.5)) { _ = $0.usage.totalTokens }
        _ = try mutate(
            GenerationJob(
                turn: turn.id, epoch: 1_790_000_000_000_000, attempt: 2, orchestrator: "o", tenant: "t",
                prompt: [1, 2], outputSoFar: [3], sampling: turn.sampling, kind: .stream, deadline: turn.deadline))
        _ = try mutate(NodeControl(cancel: turn.id, epoch: 7, attempt: 1))
        var load = OrchestratorLoad(
            id: "o", waiting: ByKind(repeating: .init([.init(tenant: "t", turns: 3, users: 2)])),
            running: ByKind(stream: 3, chat: 2, batch: 1), used: ["n": 4], places: 8,
            serviceSeconds: ByKind(repeating: 2), firstTokenSeconds: 0.5)
        load.newestDelivered = ["stream_queue": 1_790_000_000_000]
        _ = try mutate(load) { load in
            let cluster = ClusterLoad([load, load], queued: ByKind(repeating: .max))
            for kind in Turn.Kind.allCases {
                _ = cluster.estimate(kind: kind, tenant: "t", own: .max)
                _ = cluster.estimate(kind: kind, tenant: "x")
            }
            #expect(load.waitingTurns >= 0)
        }
    }

    @Test(arguments: [Int64.min, .max, -1, WireBounds.times.upperBound + 1]) func theFieldIsNamed(time: Int64) throws {
        var text = String(decoding: try JSONEncoder().encode(try turn()), as: UTF8.self)
        text = text.replacing("1790000000000", with: "\(time)")
        #expect(throws: WireError(field: "acceptedAt")) { try Turn(message: text.utf8) }
    }

    @Test func theTimeBetweenTwoTimesIsATime() {
        let times: [Int64] = [.min, .min + 1, -1, 0, 1, 1_790_000_000_000, .max - 1, .max]
        for end in times {
            for start in times { #expect(WireBounds.times.contains(end.milliseconds(since: start))) }
        }
        #expect(Int64(1500).milliseconds(since: 1000) == 500)
        #expect(Int64(1000).milliseconds(since: 1500) == 0)
    }

    @Test func anEndOfTimesOutOfRangeHasADuration() throws {
        let outcome = try outcome()
        let early = TurnOutcome(
            turn: outcome.turn, conversation: outcome.conversation, beginsConversation: true, kind: .stream,
            status: .failed, finishReason: .error, error: "x", system: nil, message: "", response: "", eventEnds: [],
            usage: .init(promptTokens: .max, completionTokens: .max), model: "m", seed: 1, acceptedAt: .min,
            firstTokenAt: nil, endedAt: .max, attempts: 0)
        #expect(TurnEnd(outcome: early).duration == WireBounds.times.upperBound)
        #expect(early.usage.totalTokens == 2 * WireBounds.counts.upperBound)
    }
}
