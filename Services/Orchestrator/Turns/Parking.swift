import ChatCore
import Logging
import RedisStore
import ServiceKit
import ServiceLifecycle
import Synchronization
import TurnProtocol

/// The turns that this orchestrator has put on the retry ladder: nobody holds them, so when one is cancelled it is ended
/// from here. Its message, when it comes back, finds a turn that has ended.
final class Parking: Service, Sendable {
    /// Turns that are remembered at most; a cancelled one beyond it ends when its message comes back.
    static let capacity = 1024
    /// The same in bytes of their texts.
    static let maximumBytes = 32 << 20

    /// How long after its delay a turn may still be on its way back.
    private static let grace: Duration = .seconds(10)

    private let name: String
    private let model: String
    private let ending: TurnEnding
    private let clock: RedisClock
    private let logger: Logger
    private let parked = Mutex(ParkedTurns(maximumCount: Parking.capacity, maximumBytes: Parking.maximumBytes))
    private let cancelled = Mailbox<Turn>(capacity: Parking.capacity)

    init(name: String, model: String, ending: TurnEnding, clock: RedisClock, logger: Logger) {
        self.name = name
        self.model = model
        self.ending = ending
        self.clock = clock
        self.logger = logger
    }

    /// - Parameters:
    ///   - delay: after which its message comes back, to whomever.
    func add(_ turn: Turn, for delay: Duration) {
        parked.withLock { $0.add(turn, until: .now + delay + Self.grace, at: .now) }
    }

    func remove(_ turn: TurnID) { parked.withLock { _ = $0.remove(turn) } }

    func cancel(_ turn: TurnID) {
        if let turn = parked.withLock({ $0.remove(turn) }) { cancelled.send(turn) }
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while let turns = await self.cancelled.receive() {
                for turn in turns.elements { await self.end(turn) }
            }
        }
    }

    private func end(_ turn: Turn) async {
        do {
            // A turn that is held again by then is its holder's to end: it sees the request in the record.
            try await ending.cancel(
                parked: turn, owner: name, model: model, clock: clock,
                patience: Patience(logger: logger) { !Task.isCancelled })
            logger.info("a parked turn was cancelled", metadata: ["turn": "\(turn.id)"])
        } catch {
            logger.notice(
                "a parked turn was not cancelled here; it is when its message comes back",
                metadata: ["turn": "\(turn.id)", "error": "\(error)"])
        }
    }
}
