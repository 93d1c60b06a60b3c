import ChatCore
import Logging
import RedisStore
import ServiceLifecycle

/// Tells the readers of waiting streams their place and the estimate, as hints.
struct WaitingNews: Service {
    /// How often every waiting turn's place is said, changed or not: whoever begins to read hears of it that soon, at
    /// whichever gateway.
    private static let interval: Duration = .seconds(1)
    /// Hints under way at the same time.
    private static let concurrency = 64

    let nodes: NodePool
    let log: TurnLog
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while (try? await Task.sleep(for: WaitingNews.interval)) != nil {
                await tell(Array(await nodes.waits))
            }
        }
    }

    private func tell(_ due: [(key: TurnID, value: TurnWait)]) async {
        await withDiscardingTaskGroup { group in
            // Every so-manieth in each task: the number of tasks is bounded, and they pipeline.
            for lane in 0..<min(WaitingNews.concurrency, due.count) {
                group.addTask {
                    for index in stride(from: lane, to: due.count, by: WaitingNews.concurrency) {
                        do throws(RedisError) {
                            try await log.tell(due[index].value, of: due[index].key)
                        } catch {
                            return logger.debug("places are not told", metadata: ["error": "\(error)"])
                        }
                    }
                }
            }
        }
    }
}
