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
        /// - Parameter heard: when their hint came.
        case events([TurnEvent], heard: ContinuousClock.Instant)
        /// Hints may have been lost: read the log again.
        case reread
        /// Time passes; sent about every second to whoever hears nothing else.
        case tick
        /// The same, five times a second, for a reader whose log is missing.
        case seek
        /// The gateway drains: go, and ask the client to come back elsewhere after this pause.
        case leave(Duration)
    }

    /// News that wait for one slow client, at most; beyond that its reader goes back to the log.
    private static let mailboxCapacity = 64

    private static let tickInterval: Duration = .milliseconds(200)
    private static let ticksPerSecond = 5

    private struct Reader {
        let turn: TurnID
        let mailbox: Mailbox<News>
        /// Whether its client can go on at another gateway.
        let isResumable: Bool
        /// Nothing was sent to it since the last tick.
        var isQuiet = false
    }

    private struct Readers {
        var byToken: [UInt64: Reader] = [:]
        var tokens: [TurnID: Set<UInt64>] = [:]
        var seeking: Set<UInt64> = []
        var lastToken: UInt64 = 0
        /// Whoever comes now is sent away.
        var isClosing = false

        func mailboxes(of turn: TurnID) -> [Mailbox<News>] {
            tokens[turn, default: []].compactMap { byToken[$0]?.mailbox }
        }

        /// The mailboxes of a turn's readers, which are about to get a hint.
        mutating func hear(of turn: TurnID) -> [Mailbox<News>] {
            tokens[turn, default: []].compactMap { token in
                byToken[token]?.isQuiet = false
                return byToken[token]?.mailbox
            }
        }

        /// The mailboxes of readers that heard nothing since the last time. The others know that time passes.
        mutating func takeQuiet() -> [Mailbox<News>] {
            var quiet: [Mailbox<News>] = []
            for index in byToken.values.indices {
                if byToken.values[index].isQuiet {
                    quiet.append(byToken.values[index].mailbox)
                } else {
                    byToken.values[index].isQuiet = true
                }
            }
            return quiet
        }
    }

    /// The name under which this gateway registers itself at a turn.
    let name: String
    let finder: TurnFinder
    private let maximumReaders: Int
    private let logger: Logger
    private let subscriber: Mutex<RedisSubscriber?> = Mutex(nil)
    private let readers = Mutex(Readers())

    var log: TurnLog { finder.log }
    /// Clients that follow a turn here now.
    var readerCount: Int { readers.withLock { $0.byToken.count } }

    /// - Parameter maximumReaders: clients that are followed for at a time; the next one is refused.
    init(name: String, finder: TurnFinder, maximumReaders: Int, redis: RedisConfiguration, logger: Logger) {
        self.name = name
        self.finder = finder
        self.maximumReaders = maximumReaders
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
                    var ticks = 0
                    while (try? await Task.sleep(for: TurnRelay.tickInterval)) != nil {
                        ticks = (ticks + 1) % TurnRelay.ticksPerSecond
                        if ticks == 0 { self.readers.withLock { $0.takeQuiet() }.forEach { $0.send(.tick) } }
                        self.tellSeekers()
                    }
                }
            }
        }
    }

    /// Follows a turn from token index `from` on for as long as `body` runs.
    ///
    /// - Parameters:
    ///   - isKnown: whether the turn is known to be the tenant's; otherwise the reader finds out before it gives anything.
    ///   - isResumable: whether the client can go on at another gateway; who cannot is the last to be sent away by a drain.
    /// - Throws: `APIError` when this gateway has as many readers as it takes; what `body` throws.
    func withReader<Result>(
        of turn: TurnID, tenant: String, from: Int, isKnown: Bool, isResumable: Bool,
        _ body: (inout TurnReader) async throws -> Result
    ) async throws -> Result {
        let mailbox = Mailbox<News>(capacity: TurnRelay.mailboxCapacity)
        let token = readers.withLock { readers -> UInt64? in
            guard readers.byToken.count < maximumReaders else { return nil }
            readers.lastToken += 1
            readers.byToken[readers.lastToken] = Reader(turn: turn, mailbox: mailbox, isResumable: isResumable)
            readers.tokens[turn, default: []].insert(readers.lastToken)
            if readers.isClosing { mailbox.send(.leave(DrainPlan.longestPause)) }
            return readers.lastToken
        }
        guard let token else { throw APIError.tooManyReaders }
        defer { leave(turn, token) }
        var reader = TurnReader(
            turn: turn, tenant: tenant, from: from, isKnown: isKnown, mailbox: mailbox, relay: self, token: token)
        return try await body(&reader)
    }

    private func leave(_ turn: TurnID, _ token: UInt64) {
        let wasLast = readers.withLock { readers in
            readers.byToken[token] = nil
            readers.seeking.remove(token)
            readers.tokens[turn]?.remove(token)
            guard readers.tokens[turn]?.isEmpty == true else { return false }
            readers.tokens[turn] = nil
            return true
        }
        guard wasLast else { return }
        // Not waited for: the client is gone or served. A lost call is made good by the registration's expiry.
        Task {
            try? await log.unfollow(turn, reader: name)
            // A new reader may have registered before this took the registration away: it registers again.
            readers.withLock { $0.mailboxes(of: turn) }.forEach { $0.send(.reread) }
        }
    }

    /// From now on the reader is told to look for its log several times a second.
    func seek(_ token: UInt64) {
        readers.withLock { if $0.byToken[token] != nil { _ = $0.seeking.insert(token) } }
    }

    func found(_ token: UInt64) {
        readers.withLock { _ = $0.seeking.remove(token) }
    }

    private func hear(_ event: RedisSubscriber.Event) {
        switch event {
        case .message(_, let payload):
            do throws(WireError) {
                let (hint, now) = (try TurnLog.decode(hint: payload), ContinuousClock.now)
                readers.withLock { $0.hear(of: hint.turn) }.forEach { $0.send(.events(hint.events, heard: now)) }
            } catch {
                logger.warning("a malformed hint was dropped", metadata: ["error": "\(error)"])
            }
        case .connected: tell(.reread)
        case .disconnected: logger.warning("hints are cut off; readers fall back on the log")
        }
    }

    private func tell(_ news: News) {
        let all = readers.withLock { $0.byToken.values.map(\.mailbox) }
        all.forEach { $0.send(news) }
    }

    private func tellSeekers() {
        let seekers = readers.withLock { readers in readers.seeking.compactMap { readers.byToken[$0]?.mailbox } }
        seekers.forEach { $0.send(.seek) }
    }
}

// MARK: Draining

extension TurnRelay {
    /// Lets the streams that are open end for `grace`, then sends the rest of the clients away in small slices. Returns
    /// when everybody was told; cancelled when nobody is left.
    func drain(grace: Duration) async {
        logger.notice("draining", metadata: ["readers": "\(readers.withLock { $0.byToken.count })"])
        guard (try? await Task.sleep(for: grace)) != nil else { return }
        let tokens = readers.withLock { readers in
            readers.isClosing = true
            return readers.byToken.sorted { $0.value.isResumable && !$1.value.isResumable }.map(\.key)
        }
        var random = SystemRandomNumberGenerator()
        let plan = DrainPlan(tokens, using: &random)
        logger.notice("sending readers away", metadata: ["readers": "\(tokens.count)"])
        var refused: [DrainPlan.Departure] = []
        for slice in plan.slices {
            // A mailbox that was full is tried again with the next slice.
            refused = (refused + slice).filter { !tell($0) }
            guard (try? await Task.sleep(for: DrainPlan.interval)) != nil else { return }
        }
        while !refused.isEmpty, (try? await Task.sleep(for: DrainPlan.interval)) != nil {
            refused = refused.filter { !tell($0) }
        }
    }

    /// - Returns: false when the reader has to be told again.
    private func tell(_ departure: DrainPlan.Departure) -> Bool {
        readers.withLock { $0.byToken[departure.reader]?.mailbox }?.send(.leave(departure.pause)) ?? true
    }
}
