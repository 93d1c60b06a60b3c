import Foundation
import Logging
import RedisStore
import ServiceLifecycle

/// Shows that this worker lives, to whoever asks the gateway's health.
struct WorkerPresence: Service {
    let presence: Presence
    let logger: Logger
    private let name = "\(ProcessInfo.processInfo.hostName)-\(UInt32.random(in: .min ... .max))"

    static let kind = "queue-worker"
    private static let interval: Duration = .seconds(1)
    /// How long a beat is believed.
    private static let lifetime: Duration = .seconds(5)

    init(presence: Presence, logger: Logger) {
        self.presence = presence
        self.logger = logger
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do throws(RedisError) {
                    try await presence.beat(
                        kind: WorkerPresence.kind, id: name, ttl: WorkerPresence.lifetime)
                } catch {
                    logger.debug("a heartbeat was lost", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: WorkerPresence.interval)
            }
        }
        // When it fails, the last beat expires by itself.
        await Task { try? await presence.leave(kind: WorkerPresence.kind, id: name) }.value
    }
}
