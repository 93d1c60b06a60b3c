import ChatCore

/// Brings tokens from the outbox to the orchestrators: one write for one or some engine steps and each orchestrator.
struct StepSender: Sendable {
    let outbox: StepOutbox
    /// Sorts what is pending by orchestrators, and says how many jobs are at the node.
    let sort: @Sendable (PendingTokens) -> (batches: [String: TokenBatch], jobs: Int)
    /// Sends a batch to an orchestrator, and tries again by itself.
    let write: @Sendable (TokenBatch, _ orchestrator: String) async -> Void

    /// Runs until the outbox is closed and empty, or the task is cancelled.
    func run() async {
        var pause: Task<Void, Never>?
        while let pending = await outbox.take() {
            let (batches, jobs) = sort(pending)
            pause?.cancel()
            pause = hold(for: SendPace.pause(jobs: jobs))
            await withDiscardingTaskGroup { group in
                for (orchestrator, batch) in batches { group.addTask { await write(batch, orchestrator) } }
            }
        }
        pause?.cancel()
    }

    /// The steps of the next moments leave together, unless one of them is urgent.
    private func hold(for pause: Duration) -> Task<Void, Never>? {
        guard pause > .zero else {
            outbox.release()
            return nil
        }
        outbox.hold()
        return Task { [outbox] in
            guard (try? await Task.sleep(for: pause)) != nil else { return }
            outbox.release()
        }
    }
}
