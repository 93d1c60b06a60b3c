import ChatCore
import Foundation

/// Plays a plan's conversations against the gateways, each turn in its place.
struct Player: Sendable {
    /// Each conversation has one of them.
    let clients: [DrillClient]
    /// Whether turns are cancelled where the plan says so.
    let cancels: Bool
    /// Begins the names of all users, so that two runs on one cluster stay apart.
    let prefix: String

    /// - Parameters:
    ///   - start: when the plan's time begins; nil plays everything as soon as there is room.
    ///   - width: conversations at a time, at most.
    /// - Returns: what became of each turn, by its index in the plan; a turn that was never asked for is missing.
    func play(_ plan: TurnPlan, from start: ContinuousClock.Instant?, width: Int) async -> [Int: TurnRecord] {
        await withTaskGroup(of: [TurnRecord].self) { group in
            var records: [Int: TurnRecord] = [:]
            func note(_ finished: [TurnRecord]) { for record in finished { records[record.planned.index] = record } }
            for (begun, conversation) in plan.conversations.sorted(by: { $0.start < $1.start }).enumerated() {
                if begun >= width, let finished = await group.next() { note(finished) }
                group.addTask {
                    if let start { try? await Task.sleep(until: start + conversation.start, clock: .continuous) }
                    return await play(conversation)
                }
            }
            for await finished in group { note(finished) }
            return records
        }
    }

    private func play(_ conversation: PlannedConversation) async -> [TurnRecord] {
        let client = clients[conversation.index % clients.count]
        var running: [Task<TurnRecord, Never>] = []
        var number: Int64?
        for turn in conversation.turns {
            if !turn.isEager { for earlier in running { _ = await earlier.value } }
            var record = TurnRecord(turn, user: "\(prefix)-\(conversation.index)")
            do {
                if turn.kind != .chat { try await client.begin(&record, conversation: number) }
            } catch {
                // Without this turn the later ones would have another history.
                running.append(Task { [record] in record })
                break
            }
            if number == nil, let id = record.ids.first.flatMap(TurnID.init) {
                number = ConversationID(firstTurn: id).value
            }
            running.append(
                Task { [record, number] in
                    var record = record
                    do {
                        switch turn.kind {
                        case .stream:
                            try await client.follow(&record, cancels: cancels)
                            if turn.isReplayed { try await replay(&record, client) }
                        case .batch: try await client.collect(&record)
                        case .chat: try await client.chat(&record, conversation: number)
                        }
                    } catch {
                        if record.violations.isEmpty { record.violate("given up: \(error)") }
                    }
                    return record
                })
        }
        var records: [TurnRecord] = []
        for task in running { records.append(await task.value) }
        return records
    }

    /// Reads an ended stream once more: the same events, whoever has them by now.
    private func replay(_ record: inout TurnRecord, _ client: DrillClient) async throws {
        guard record.end != nil else { return }
        var again = TurnRecord(record.planned, user: record.user)
        again.ids = record.ids
        again.isCancelled = record.isCancelled
        try await client.follow(&again, cancels: false)
        if again.tokens != record.tokens { record.violate("its replay has other events") }
        if again.end != record.end { record.violate("its replay ends otherwise") }
        for violation in again.violations { record.violate("its replay: \(violation)") }
    }
}
