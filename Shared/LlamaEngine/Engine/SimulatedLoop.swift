import Foundation

/// The body of the simulated engine's thread: it gives each sequence its next token when its time has come.
final class SimulatedLoop {
    private let configuration: SimulatedEngine.Configuration
    private let mailbox: Mailbox
    private let onStep: @Sendable ([TokenEvent]) -> Void
    private let report: (@Sendable (StepReport) -> Void)?
    private var sequences: [UInt64: (turn: GenerationTurn, entry: UInt64)] = [:]
    /// When each sequence is due its next token. Entries of ended sequences stay until their time or the next cleaning.
    private var timetable = Timetable()
    private var events: [TokenEvent] = []
    private var statistics = EngineStatistics()

    init(
        configuration: SimulatedEngine.Configuration, mailbox: Mailbox,
        onStep: @escaping @Sendable ([TokenEvent]) -> Void, report: (@Sendable (StepReport) -> Void)?
    ) {
        self.configuration = configuration
        self.mailbox = mailbox
        self.onStep = onStep
        self.report = report
    }

    /// Runs until a shutdown has been carried out.
    func run() {
        var shutdown: ShutdownMode?
        while shutdown == nil || !sequences.isEmpty {
            let mail = mailbox.take(parking: true, until: nextLook)
            shutdown = mail.shutdown ?? shutdown
            for request in mail.submissions {
                sequences[request.id] = (GenerationTurn(request, rules: StopRules()), 0)
                schedule(request.id, at: MonotonicClock.seconds + configuration.timeToFirstToken / 1000)
            }
            if let report, !mail.submissions.isEmpty { report(StepReport(begun: mail.submissions.map(\.id))) }
            for id in mail.cancellations { end(id, .cancelled) }
            if case .atOnce = shutdown {
                for id in sequences.keys.sorted() { end(id, .interrupted) }
            }
            step(until: MonotonicClock.seconds)
            deliver()
        }
        mailbox.end()
    }

    /// When the next token is due.
    private var nextLook: Double? { timetable.first?.time }

    private func schedule(_ id: UInt64, at time: Double) {
        if timetable.count > 2 * sequences.count + 64 {
            timetable.removeAll { sequences[$0.id]?.entry != $0.ordinal }
        }
        sequences[id]?.entry = timetable.insert(id: id, time: time)
    }

    /// One token for every sequence whose time has come.
    private func step(until now: Double) {
        let due = timetable.removeAll(until: now).filter { sequences[$0.id]?.entry == $0.ordinal }
        guard !due.isEmpty else { return }
        statistics.steps += 1
        for entry in due {
            guard let turn = sequences[entry.id]?.turn else { continue }
            let event = turn.take(token(of: turn))
            if let event {
                events.append(event)
                if event.token != TokenEvent.none { statistics.tokensGenerated += 1 }
            }
            if let finish = event?.finish {
                close(entry.id, finish)
            } else {
                schedule(entry.id, at: entry.time + configuration.interTokenLatency / 1000)
            }
        }
    }

    private func token(of turn: GenerationTurn) -> Int32 {
        let bits = Philox.bits(seed: turn.request.sampling.seed, outputIndex: UInt64(turn.nextIndex))
        let (high, _) = UInt64(configuration.tokens.count).multipliedFullWidth(by: bits)
        return configuration.tokens.lowerBound + Int32(high)
    }

    private func end(_ id: UInt64, _ finish: FinishReason) {
        guard let sequence = sequences[id] else { return }
        events.append(sequence.turn.ending(finish))
        close(id, finish)
    }

    private func close(_ id: UInt64, _ finish: FinishReason) {
        sequences[id] = nil
        statistics.finished += 1
        if finish == .diverged { statistics.diverged += 1 }
    }

    /// Publishes the state, then hands out the events: whoever sees a turn's end may use its id again.
    private func deliver() {
        statistics.running = sequences.count
        mailbox.publish(
            statistics, queued: sequences.count, ended: events.lazy.filter { $0.finish != nil }.map(\.request))
        guard !events.isEmpty else { return }
        onStep(events)
        events.removeAll(keepingCapacity: true)
    }
}
