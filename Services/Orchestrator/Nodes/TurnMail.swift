import ChatCore
import Logging
import ServiceKit
import Synchronization

/// What a turn's holder hears while the turn is generated.
enum TurnNews: Sendable {
    case tokens(TokenBatch.Item)
    case nodeLost(String)
    case cancelRequested
    /// Time passes; sent about every second.
    case tick
    /// The turns before it in its conversation have ended.
    case becameHead
    case prepared(HolderNews.Preparation)
    /// A place at a node was granted.
    case placed(NodePool.Place)
    /// No living node can hold the plan, and it may be made anew.
    case plannedTooLarge
}

/// Brings what nodes and gateways say to the turns that this orchestrator holds.
final class TurnMail: Sendable {
    /// More than a node can send while one append is under way; a gap is asked for again.
    private static let capacity = 4096

    private let logger: Logger
    private let meter: FirstTokenMeter
    private struct Holder {
        let mailbox: Mailbox<TurnNews>
        var lastTokens: ContinuousClock.Instant?
    }

    private let holders = Mutex<[TurnID: Holder]>([:])

    init(meter: FirstTokenMeter, logger: Logger) {
        self.meter = meter
        self.logger = logger
    }

    func open(_ turn: TurnID) -> Mailbox<TurnNews> {
        let mailbox = Mailbox<TurnNews>(capacity: TurnMail.capacity)
        // The same turn may come again after its channel broke: its old runner hears that it is over.
        holders.withLock { $0.updateValue(Holder(mailbox: mailbox), forKey: turn) }?.mailbox.close()
        return mailbox
    }

    /// Whether a runner of this process works on the turn, besides the one with this mailbox.
    func holds(_ turn: TurnID, besides own: Mailbox<TurnNews>?) -> Bool {
        holders.withLock { $0[turn].map { $0.mailbox !== own } ?? false }
    }

    func close(_ turn: TurnID, _ mailbox: Mailbox<TurnNews>) {
        // A newer holder of the same turn in this process keeps its own.
        holders.withLock { if $0[turn]?.mailbox === mailbox { $0[turn] = nil } }
        mailbox.close()
    }

    func receive(_ payloads: [[UInt8]]) {
        for payload in payloads {
            do throws(WireError) {
                let batch = try TokenBatch(decoding: payload)
                for case .some(let time) in batch.items.lazy.map(\.timeToFirstToken) {
                    meter.add(seconds: Double(time) / 1_000_000)
                }
                let now = ContinuousClock.now
                holders.withLock { holders in
                    for item in batch.items {
                        guard let place = holders.index(forKey: item.turn) else { continue }
                        holders.values[place].lastTokens = now
                        holders.values[place].mailbox.send(.tokens(item))
                    }
                }
            } catch {
                logger.warning("a malformed token batch was dropped", metadata: ["error": "\(error)"])
            }
        }
    }

    /// - Returns: false when no runner of this process works on the turn.
    @discardableResult
    func tell(_ turn: TurnID, _ news: TurnNews) -> Bool {
        guard let mailbox = holders.withLock({ $0[turn]?.mailbox }) else { return false }
        mailbox.send(news)
        return true
    }

    func tellAll(_ news: TurnNews) {
        let all = holders.withLock { $0.values.map(\.mailbox) }
        all.forEach { $0.send(news) }
    }

    /// Says that time passes; to be called every second. Whoever had tokens within it knows.
    func tick() {
        let now = ContinuousClock.now
        let quiet = holders.withLock { holders in
            holders.values.filter { $0.lastTokens.map { $0 + .seconds(1) <= now } ?? true }.map(\.mailbox)
        }
        quiet.forEach { $0.send(.tick) }
    }
}
