import ChatClient
import ChatCore
import SeededRandom
import Testing

@testable import DrillKit

/// Every check finds what it is there for: a drill that cannot fail proves nothing.
@Suite struct VerdictTests {
    private let plan = TurnPlan(turns: 40, span: .seconds(1), tokens: 3...3, seed: 5)

    /// A run in which everything went well.
    private func run(_ prefix: String) -> Verdict.Run {
        var records: [Int: TurnRecord] = [:]
        var rows: [StoredTurn] = []
        var random = SeededGenerator(seed: prefix == "calm" ? 1 : 2)
        for conversation in plan.conversations {
            for turn in conversation.turns {
                let id = TurnID(milliseconds: UInt64(turn.index), using: &random).description
                var record = TurnRecord(turn, user: "\(prefix)-\(conversation.index)")
                record.ids = [id]
                let text = "\(turn.index) a b"
                if turn.kind == .stream { record.tokens = [text, "", ""] }
                record.text = text
                records[turn.index] = record
                rows.append(stored(id, record.user, turn, text))
            }
        }
        return Verdict.Run(records: records, stored: StoredTurns(turns: rows, usage: usage(rows)))
    }

    private func stored(
        _ id: String, _ user: String, _ turn: PlannedTurn, _ text: String, status: String = "done", tokens: Int64 = 3
    ) -> StoredTurn {
        StoredTurn(
            shard: "shard0", id: id, user: user, kind: turn.kind.rawValue, status: status, finishReason: "length",
            error: "", promptTokens: 9, completionTokens: tokens, eventEnds: [UInt8(text.utf8.count), 0, 0],
            attempts: 1,
            message: turn.message, response: text, messages: 2)
    }

    private func usage(_ rows: [StoredTurn]) -> [StoredUsage] {
        Dictionary(grouping: rows, by: \.user).map { user, rows in
            StoredUsage(
                user: user, turns: Int64(rows.count), promptTokens: Int64(9 * rows.count),
                completionTokens: rows.reduce(0) { $0 + $1.completionTokens })
        }
    }

    private func verdict(_ spoil: (inout Verdict.Run) -> Void) -> Verdict {
        var drilled = run("drill")
        spoil(&drilled)
        return Verdict(plan, calm: run("calm"), drilled: drilled) { _ in "shard0" }
    }

    private func rows(_ run: inout Verdict.Run, _ change: (inout [StoredTurn]) -> Void) {
        var rows = run.stored.turns
        change(&rows)
        run.stored = StoredTurns(turns: rows, usage: usage(rows))
    }

    @Test func nothingIsFoundWhereNothingIs() {
        let verdict = verdict { _ in }
        #expect(verdict.violations == [] && verdict.lost == 0)
    }

    @Test func whatTheClientsSawIsCompared() throws {
        let stream = try #require(plan.turns.first { $0.kind == .stream }).index
        let spoilers: [(inout Verdict.Run) -> Void] = [
            { $0.records[stream] = nil },
            { $0.records[stream]?.text = nil },
            { $0.records[stream]?.text = "another" },
            { $0.records[stream]?.tokens?.removeLast() },
            { $0.records[stream]?.violate("anything") },
        ]
        for spoil in spoilers {
            let verdict = verdict(spoil)
            #expect(verdict.violations.count >= 1 && verdict.lost == 1)
        }
    }

    @Test func whatTheShardsHaveIsCompared() {
        func changed(_ change: (inout [StoredTurn]) -> Void) -> Verdict { verdict { rows(&$0, change) } }
        func replaced(_ text: String, status: String = "done") -> Verdict {
            changed { $0[3] = stored($0[3].id, $0[3].user, plan.turns[3], text, status: status) }
        }
        #expect(changed { $0.removeLast() }.violations.count == 1)
        #expect(changed { $0.append($0[0]) }.violations.count == 1)
        #expect(replaced("3 a c").violations.count == 1)
        #expect(replaced("3 a b", status: "failed").violations.count == 1)
        // A second turn of one request that nobody may have begun.
        let other = changed { rows in
            rows.append(stored("other", rows[3].user, plan.turns[3], "3 a b"))
        }
        #expect(other.violations.count == 1)
        #expect(verdict { $0.stored = StoredTurns(turns: $0.stored.turns, usage: []) }.violations.count > 1)
        let wrongShard = Verdict(plan, calm: run("calm"), drilled: run("drill")) { _ in "shard1" }
        #expect(wrongShard.violations.count == 40)
    }

    @Test func aChatMayBeBegunAnewWhenItsConnectionWasLost() throws {
        let chat = try #require(plan.turns.first { $0.kind == .chat })
        func withSecond(_ text: String, repeated: Int) -> Verdict {
            verdict { run in
                run.records[chat.index]?.repeated = repeated
                let user = run.records[chat.index]?.user ?? ""
                rows(&run) { $0.append(stored("cut off", user, chat, text, status: "cancelled")) }
            }
        }
        #expect(withSecond("\(chat.index) a", repeated: 1).violations == [])
        #expect(withSecond("\(chat.index) a", repeated: 1).secondTurns == 1)
        #expect(withSecond("\(chat.index) a", repeated: 0).violations.count == 1)
        #expect(withSecond("something else", repeated: 1).violations.count == 1)
    }

    @Test func aCancelledTurnIsABeginningOfTheUndisturbedOne() throws {
        let stream = try #require(plan.turns.first { $0.kind == .stream })
        func cancelled(_ tokens: [String], stored text: String, count: Int64) -> Verdict {
            verdict { run in
                run.records[stream.index]?.isCancelled = true
                run.records[stream.index]?.tokens = tokens
                run.records[stream.index]?.text = tokens.joined()
                rows(&run) { rows in
                    guard let own = rows.firstIndex(where: { $0.message == stream.message }) else { return }
                    rows[own] = stored(rows[own].id, rows[own].user, stream, text, status: "cancelled", tokens: count)
                }
            }
        }
        let text = "\(stream.index) a b"
        #expect(cancelled([text, ""], stored: text, count: 2).violations == [])
        #expect(cancelled([text, ""], stored: text, count: 2).cancelled == 1)
        #expect(cancelled([], stored: "", count: 0).violations == [])
        #expect(cancelled(["another", ""], stored: "another", count: 2).violations.count == 1)
        #expect(cancelled([text, ""], stored: "\(stream.index) a", count: 2).violations.count == 1)
        #expect(cancelled([text, ""], stored: text, count: 3).violations.count == 1)
    }

    @Test func aClientNoticesTokensThatComeTwiceOrTooEarly() {
        func violations(_ events: [ChatEvent]) -> [String] {
            var record = TurnRecord(plan.turns[0], user: "u")
            for event in events { record.hear(event, now: .now) }
            return record.violations
        }
        #expect(violations([.token(index: 0, text: "a"), .token(index: 1, text: "b")]) == [])
        #expect(violations([.token(index: 0, text: "a"), .token(index: 0, text: "a")]).count == 1)
        #expect(violations([.token(index: 0, text: "a"), .token(index: 2, text: "b")]).count == 1)
    }
}
