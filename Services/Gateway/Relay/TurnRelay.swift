import ChatCore
import Logging
import RedisStore
import ServiceKit
import ServiceLifecycle
import Synchronization

/// Brings the hints of this gateway's one channel to whoever follows a turn here.
///
/// Hints carry the new events, so that a token reaches its client without another trip to Redis; they may get lost, and
/// then the reader finds out by index or by silence and reads the log again.
final class TurnRelay: Service {
    /// What a reader is told.
    enum News: Sendable {
        case events([TurnEvent])
        /// Hints may have been lost: read the log again.
        case reread
        /// Time passes; sent about every second.
        case tick
    }

    /// News that wait for one slow client, at most; beyond that its reader goes back to the log.
    private static let mailboxCapacity = 64

    private struct Readers {
        var mailboxes: [TurnID: [UInt64: Mailbox<News>]] = [:]
        var lastToken: UInt64 = 0
    }

    /// The name under which this gateway registers itself at a turn.
    let name: String
    let log: TurnLog
    private let logger: Logger
    private let subscriber: Mutex<RedisSubscriber?> = Mutex(nil)
    private let readers = Mutex(Readers())

    init(name: String, log: TurnLog, redis: RedisConfiguration, logger: Logger) {
        self.name = name
        self.log = log
        self.logger = logger
        let subscriber = RedisSubscriber(
            configuration: redis, channels: [TurnLog.channel(ofReader: name)], logger: logger
        ) { [weak self] event in self?.hear(event) }
        self.subscriber.withLock { $0 = subscriber }
    }

    func run() async throws {
        guard let subscriber = subscriber.withLock({ $0 }) else { return }
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await subscriber.run() }
            group.addTask {
                await cancelWhenGracefulShutdown {
                    while (try? await Task.sleep(for: .seconds(1))) != nil { self.tell(.tick) }
                }
            }
        }
    }

    /// Follows a turn from token index `from` on for as long as `body` runs.
    ///
    /// - Parameter endsOnShutdown: whether the reader ends as soon as the gateway drains; right for whoever can go on at
    ///   another gateway.
    func withReader<Result>(
        of turn: TurnID, from: Int, endsOnShutdown: Bool, _ body: (inout TurnReader) async throws -> Result
    ) async throws -> Result {
        let mailbox = Mailbox<News>(capacity: TurnRelay.mailboxCapacity)
        let token = readers.withLock { readers in
            readers.lastToken += 1
            readers.mailboxes[turn, default: [:]][readers.lastToken] = mailbox
            return readers.lastToken
        }
        defer { leave(turn, token) }
        var reader = TurnReader(turn: turn, from: from, mailbox: mailbox, relay: self)
        return try await withGracefulShutdownHandler {
            try await body(&reader)
        } onGracefulShutdown: {
            if endsOnShutdown { mailbox.close() }
        }
    }

    private func leave(_ turn: TurnID, _ token: UInt64) {
        let wasLast = readers.withLock { readers in
            readers.mailboxes[turn]?[token] = nil
            guard readers.mailboxes[turn]?.isEmpty == true else { return false }
            readers.mailboxes[turn] = nil
            return true
        }
        guard wasLast else { return }
        // Not waited for: the client is gone or served. A lost call is made good by the registration's expiry.
        Task {
            try? await log.unfollow(turn, reader: name)
            // A new reader may have registered before this took the registration away: it registers again.
            readers.withLock { $0.mailboxes[turn]?.values.map { $0 } }?.forEach { $0.send(.reread) }
        }
    }

    private func hear(_ event: RedisSubscriber.Event) {
        switch event {
        case .message(_, let payload):
            do throws(WireError) {
                let hint = try TurnLog.decode(hint: payload)
                let mailboxes = readers.withLock { $0.mailboxes[hint.turn] }
                mailboxes?.values.forEach { $0.send(.events(hint.events)) }
            } catch {
                logger.warning("a malformed hint was dropped", metadata: ["error": "\(error)"])
            }
        case .connected: tell(.reread)
        case .disconnected: logger.warning("hints are cut off; readers fall back on the log")
        }
    }

    private func tell(_ news: News) {
        let all = readers.withLock { $0.mailboxes.values.flatMap(\.values) }
        all.forEach { $0.send(news) }
    }
}
