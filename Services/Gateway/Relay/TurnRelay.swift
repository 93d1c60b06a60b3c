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
    static let newsCapacity = 64

    private static let tickInterval: Duration = .milliseconds(200)
    private static let ticksPerSecond = 5

    private struct Reader {
        let turn: TurnID
        let key: String
        /// Whether the turn was found.
        var isKnown: Bool
        /// Says whether the news were taken; must be quick and never block.
        let tell: @Sendable (News) -> Bool
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
        var places: ReaderPlaces
        /// Whoever comes now is sent away.
        var isClosing = false

        init(_ limits: ReaderPlaces.Limits) { places = ReaderPlaces(limits) }

        func refusal(of place: TurnReader.Place) -> APIError? {
            places.refusal(ofKey: place.key, isKnown: place.isKnown, readers: tokens[place.turn]?.count ?? 0)
        }

        func readers(of turn: TurnID) -> [Reader] { tokens[turn, default: []].compactMap { byToken[$0] } }

        /// A turn's readers, which are about to get a hint.
        mutating func hear(of turn: TurnID) -> [Reader] {
            tokens[turn, default: []].compactMap { token in
                byToken[token]?.isQuiet = false
                return byToken[token]
            }
        }

        /// The readers that heard nothing since the last time. The others know that time passes.
        mutating func takeQuiet() -> [Reader] {
            var quiet: [Reader] = []
            for index in byToken.values.indices {
                if byToken.values[index].isQuiet {
                    quiet.append(byToken.values[index])
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
    /// A whole answer may be as long as a model's context.
    let pool: WorkPool
    private let logger: Logger
    private let subscriber: Mutex<RedisSubscriber?> = Mutex(nil)
    private let readers: Mutex<Readers>

    var log: TurnLog { finder.log }
    /// Clients that follow a turn here now.
    var readerCount: Int { readers.withLock { $0.byToken.count } }

    /// - Parameter places: clients that are followed for at a time; the next one is refused.
    init(
        name: String, finder: TurnFinder, places: ReaderPlaces.Limits, redis: RedisConfiguration, logger: Logger,
        pool: WorkPool = .shared
    ) {
        self.name = name
        self.finder = finder
        self.pool = pool
        readers = Mutex(Readers(places))
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
                        if ticks == 0 { self.readers.withLock { $0.takeQuiet() }.forEach { _ = $0.tell(.tick) } }
                        self.tellSeekers()
                    }
                }
            }
        }
    }

    /// A name for a reader that is about to register.
    func nextToken() -> UInt64 {
        readers.withLock { readers in
            readers.lastToken += 1
            return readers.lastToken
        }
    }

    /// Why one more client may not follow a turn here; nil when it may.
    func refusal(of place: TurnReader.Place) -> APIError? { readers.withLock { $0.refusal(of: place) } }

    /// Brings a turn's news to `tell`, from any thread, until `leave`.
    ///
    /// - Parameter isResumable: whether the client can go on at another gateway; who cannot is the last to be sent away by
    ///   a drain.
    /// - Throws: `APIError` when this gateway has as many readers as it takes, or of this key or turn.
    func register(
        _ token: UInt64, of place: TurnReader.Place, isResumable: Bool, tell: @escaping @Sendable (News) -> Bool
    ) throws(APIError) {
        let verdict = readers.withLock { readers -> (refusal: APIError?, isClosing: Bool) in
            if let refusal = readers.refusal(of: place) { return (refusal, false) }
            readers.places.take(place.key, isKnown: place.isKnown)
            readers.byToken[token] = Reader(
                turn: place.turn, key: place.key, isKnown: place.isKnown, tell: tell, isResumable: isResumable)
            readers.tokens[place.turn, default: []].insert(token)
            return (nil, readers.isClosing)
        }
        if let refusal = verdict.refusal { throw refusal }
        if verdict.isClosing { _ = tell(.leave(DrainPlan.longestPause)) }
    }

    /// Follows a turn in the caller's task for as long as `body` runs; `body` gets what comes next each time it asks: nil
    /// when the task is cancelled or the gateway lets go of the client.
    /// - Throws: `APIError` when this gateway has as many readers as it takes; what `body` throws.
    func withReader<Result>(
        of place: TurnReader.Place, _ body: (inout WaitingReader) async throws -> Result
    ) async throws -> Result {
        let (mailbox, token) = (Mailbox<News>(capacity: TurnRelay.newsCapacity), nextToken())
        try register(token, of: place, isResumable: false) { mailbox.send($0) }
        defer { leave(place.turn, token) }
        var reader = WaitingReader(TurnReader(place, relay: self, token: token), mailbox)
        return try await body(&reader)
    }

    func leave(_ turn: TurnID, _ token: UInt64) {
        let wasLast = readers.withLock { readers in
            guard let reader = readers.byToken.removeValue(forKey: token) else { return false }
            readers.places.leave(reader.key, isKnown: reader.isKnown)
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
            readers.withLock { $0.readers(of: turn) }.forEach { _ = $0.tell(.reread) }
        }
    }

    /// From now on the reader is told to look for its log several times a second.
    func seek(_ token: UInt64) {
        readers.withLock { if $0.byToken[token] != nil { _ = $0.seeking.insert(token) } }
    }

    func found(_ token: UInt64) {
        readers.withLock { readers in
            readers.seeking.remove(token)
            guard let reader = readers.byToken[token], !reader.isKnown else { return }
            readers.byToken[token]?.isKnown = true
            readers.places.found(reader.key)
        }
    }

    private func hear(_ event: RedisSubscriber.Event) {
        switch event {
        case .message(_, let payload):
            do throws(WireError) {
                let hint = try TurnLog.decode(hint: payload)
                bring(hint.events, of: hint.turn)
            } catch {
                logger.warning("a malformed hint was dropped", metadata: ["error": "\(error)"])
            }
        case .connected: tell(.reread)
        case .disconnected: logger.warning("hints are cut off; readers fall back on the log")
        }
    }

    /// Gives a hint's events to everybody who follows the turn here.
    func bring(_ events: [TurnEvent], of turn: TurnID) {
        let now = ContinuousClock.now
        readers.withLock { $0.hear(of: turn) }.forEach { _ = $0.tell(.events(events, heard: now)) }
    }

    private func tell(_ news: News) {
        let all = readers.withLock { Array($0.byToken.values) }
        all.forEach { _ = $0.tell(news) }
    }

    private func tellSeekers() {
        let seekers = readers.withLock { readers in readers.seeking.compactMap { readers.byToken[$0] } }
        seekers.forEach { _ = $0.tell(.seek) }
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
        readers.withLock { $0.byToken[departure.reader] }?.tell(.leave(departure.pause)) ?? true
    }
}

/// A reader for a task that waits for what comes next.
struct WaitingReader {
    private var reader: TurnReader
    private let mailbox: Mailbox<TurnRelay.News>
    private var hasRead = false

    init(_ reader: TurnReader, _ mailbox: Mailbox<TurnRelay.News>) {
        self.reader = reader
        self.mailbox = mailbox
    }

    /// Set when this gateway drains and lets go of the client.
    var leave: Duration? { reader.leave }

    /// New events, perhaps none; nil when the task is cancelled or the gateway lets go of the client.
    /// - Throws: as `TurnReader.read`.
    mutating func next() async throws -> [TurnEvent]? {
        if !hasRead {
            // The mailbox stands already: what is appended between this read and now waits in it.
            hasRead = true
            let events = try await reader.read()
            if !events.isEmpty { return events }
        }
        guard leave == nil, let delivery = await mailbox.receive() else { return nil }
        var (events, mustRead) = reader.take(delivery.elements, hasGap: delivery.hasGap)
        if mustRead { events += try await reader.read() }
        return leave != nil && events.isEmpty ? nil : events
    }
}
