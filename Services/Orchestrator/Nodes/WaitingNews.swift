import ChatCore
import Logging
import RedisStore
import ServiceLifecycle

/// Tells the readers of waiting streams their place and the estimate, as hints.
struct WaitingNews: Service {
    /// How often places are looked at; a reader hears of changes that often.
    private static let interval: Duration = .seconds(1)
    /// What has not changed is said again after this many looks, to whoever reads since then.
    private static let repetition = 3
    /// Hints under way at the same time.
    private static let concurrency = 64

    let nodes: NodePool
    let log: TurnLog
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var told: [TurnID: (wait: TurnWait, looks: Int)] = [:]
            while (try? await Task.sleep(for: WaitingNews.interval)) != nil {
                let waits = await nodes.waits
                told = told.filter { waits[$0.key] != nil }
                var due: [(TurnID, TurnWait)] = []
                for (turn, wait) in waits {
                    if let last = told[turn], last.wait == wait, last.looks < WaitingNews.repetition {
                        told[turn] = (wait, last.looks + 1)
                    } else {
                        told[turn] = (wait, 1)
                        due.append((turn, wait))
                    }
                }
                await tell(due)
            }
        }
    }

    private func tell(_ due: [(TurnID, TurnWait)]) async {
        await withDiscardingTaskGroup { group in
            // Every so-manieth in each task: the number of tasks is bounded, and they pipeline.
            for lane in 0..<min(WaitingNews.concurrency, due.count) {
                group.addTask {
                    for index in stride(from: lane, to: due.count, by: WaitingNews.concurrency) {
                        do throws(RedisError) {
                            try await log.tell(due[index].1, of: due[index].0)
                        } catch {
                            return logger.debug("places are not told", metadata: ["error": "\(error)"])
                        }
                    }
                }
            }
        }
    }
}
