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
    private static let capacity = 1024

    private let name: String
    private let model: String
    private let ending: TurnEnding
    private let clock: RedisClock
    private let logger: Logger
    private let parked = Mutex<[TurnID: Turn]>([:])
    private let cancelled = Mailbox<Turn>(capacity: Parking.capacity)

    init(name: String, model: String, ending: TurnEnding, clock: RedisClock, logger: Logger) {
        self.name = name
        self.model = model
        self.ending = ending
        self.clock = clock
        self.logger = logger
    }

    func add(_ turn: Turn) {
        parked.withLock { parked in
            if parked.count >= Parking.capacity, let oldest = parked.values.min(by: { $0.deadline < $1.deadline }) {
                parked[oldest.id] = nil
            }
            parked[turn.id] = turn
        }
    }

    func remove(_ turn: TurnID) { parked.withLock { $0[turn] = nil } }

    func cancel(_ turn: TurnID) {
        if let turn = parked.withLock({ $0.removeValue(forKey: turn) }) { cancelled.send(turn) }
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
