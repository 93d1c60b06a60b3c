import ChatClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// One run of a plan: lets clients arrive, and ends them when the time is over. Everything of it happens on one event
/// loop: ten thousand streams of a token a second are a small part of a core, and nothing needs a lock.
final class LoadRun {
    let plan: LoadPlan
    let silence: TimeAmount
    let encoder = JSONEncoder()
    var record = LoadRecord()
    var random: SplitMix

    private enum Phase { case beginning, draining, ended }

    private let loop: any EventLoop
    private let start = NIODeadline.now()
    private let finished: EventLoopPromise<LoadRecord>
    private let pools: [RequestPool]
    private let dialers: [Dialer]
    private let report: @Sendable (LoadProgress) -> Void
    private var policy = Reconnection.Policy()
    private var phase = Phase.beginning
    private var arrivals: Arrivals
    private var prompts: PromptSource
    private var clients: [ObjectIdentifier: LoadClient] = [:]
    private var arrived = 0
    private let name: String
    /// When the last client had arrived; the start while they still come.
    private var steadySince: (time: NIODeadline, tokens: Int)
    private var lastProgress = (time: NIODeadline.now(), tokens: 0)

    private static let sweepInterval: TimeAmount = .milliseconds(500)
    private static let progressInterval: TimeAmount = .seconds(1)

    /// To be made and used on `loop` alone.
    init(
        _ plan: LoadPlan, addresses: [SocketAddress], security: NIOSSLContext?, name: String, loop: any EventLoop,
        finished: EventLoopPromise<LoadRecord>, report: @escaping @Sendable (LoadProgress) -> Void
    ) {
        self.plan = plan
        self.loop = loop
        self.name = name
        self.finished = finished
        self.report = report
        steadySince = (start, 0)
        silence = TimeAmount(plan.silence)
        random = SplitMix(seed: plan.seed)
        arrivals = Arrivals(plan.arrivals, using: &random)
        prompts = PromptSource(plan.mix, lines: plan.prompts, using: &random)
        dialers = zip(plan.gateways, addresses).map { Dialer($0, address: $1, security: security, loop: loop) }
        pools = dialers.map { RequestPool($0, timeout: TimeAmount(plan.requestTimeout)) }
        policy.patience = plan.patience
    }

    func begin() {
        arrive()
        schedule(at: start + TimeAmount(plan.duration)) { [weak self] in self?.drain() }
        schedule(at: start + TimeAmount(plan.ramp)) { [weak self] in self?.beSteady() }
        sweep()
        tell()
    }

    /// Begins nothing more, and ends when what is open has ended, or the time for it is over.
    func drain() {
        guard phase == .beginning else { return }
        phase = .draining
        record.steadyTokens = record.tokens - steadySince.tokens
        record.steadyTime = .nanoseconds((NIODeadline.now() - steadySince.time).nanoseconds)
        for (id, client) in clients where !client.isInTurn {
            client.cut()
            clients[id] = nil
        }
        schedule(at: .now() + TimeAmount(plan.drain)) { [weak self] in self?.end() }
        endIfIdle()
    }

    /// Ends at once.
    func end() {
        drain()
        guard phase != .ended else { return }
        phase = .ended
        for client in clients.values { client.cut() }
        clients = [:]
        finished.succeed(record)
    }

    private func endIfIdle() {
        if phase == .draining, clients.isEmpty { end() }
    }

    // MARK: Clients

    private func arrive() {
        let now = NIODeadline.now()
        while phase == .beginning, let due = arrivals.take(at: time(now), using: &random) {
            guard clients.count < plan.streams else {
                record.notBegun += 1
                continue
            }
            let client = LoadClient(
                self, user: "load-\(name)-\(arrived % plan.users)", gateway: arrived % plan.gateways.count,
                conversation: newConversation())
            arrived += 1
            clients[ObjectIdentifier(client)] = client
            client.begin(due: start + TimeAmount(due))
        }
        guard phase == .beginning, let next = arrivals.next else { return }
        schedule(at: start + TimeAmount(next)) { [weak self] in self?.arrive() }
    }

    /// A client's turn has ended.
    /// - Returns: when it shall begin its next one; nil when it has left.
    func ended(_ client: LoadClient, hasMore: Bool) -> Duration? {
        // In an open system who has said what he came for leaves, and others come.
        var stays = true
        if case .rate = plan.arrivals { stays = hasMore }
        guard phase == .beginning, stays else {
            clients[ObjectIdentifier(client)] = nil
            endIfIdle()
            return nil
        }
        return plan.thinking * Double.random(in: 0.5...1.5, using: &random)
    }

    func newConversation() -> PromptSource.Conversation { prompts.next(using: &random) }

    func newTurn(due: NIODeadline, gateway: Int) -> LoadTurn {
        LoadTurn(
            due: due, gateways: plan.gateways.count, first: gateway,
            idempotencyKey: "\(name)-\(record.begun)-\(random.next())", isFollowed: plan.kind.isFollowed,
            policy: policy)
    }

    // MARK: Requests

    func post(_ body: Data, key: String, gateway: Int, _ completion: @escaping RequestConnection.Completion) {
        var headers = HTTPHeaders(to: plan.gateways[gateway], apiKey: plan.apiKey)
        headers.add(name: "Content-Type", value: "application/json")
        headers.add(name: "Content-Length", value: "\(body.count)")
        headers.add(name: "Idempotency-Key", value: key)
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: plan.kind.path, headers: headers)
        pools[gateway].send(head, body: ByteBuffer(bytes: body), completion)
    }

    func stream(
        _ turn: String, lastEventID: String?, gateway: Int, _ onNews: @escaping (StreamConnection.News) -> Void
    ) -> StreamConnection {
        var headers = HTTPHeaders(to: plan.gateways[gateway], apiKey: plan.apiKey)
        headers.add(name: "Accept", value: "text/event-stream")
        if let lastEventID { headers.add(name: "Last-Event-ID", value: lastEventID) }
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/stream/\(turn)", headers: headers)
        let connection = StreamConnection(head, onNews: onNews)
        dialers[gateway].connect(connection) { failure in
            if let failure { connection.fail(failure) }
        }
        return connection
    }

    // MARK: Time

    @discardableResult
    func schedule(in pause: Duration, _ task: @escaping () -> Void) -> Scheduled<Void> {
        schedule(at: .now() + TimeAmount(pause), task)
    }

    @discardableResult
    func schedule(at time: NIODeadline, _ task: @escaping () -> Void) -> Scheduled<Void> {
        loop.assumeIsolated().scheduleTask(deadline: time, task)
    }

    private func time(_ now: NIODeadline) -> Duration { .nanoseconds((now - start).nanoseconds) }

    private func beSteady() {
        if phase == .beginning { steadySince = (.now(), record.tokens) }
    }

    private func sweep() {
        guard phase != .ended else { return }
        let now = NIODeadline.now()
        for client in clients.values { client.sweep(at: now) }
        for pool in pools { pool.sweep(at: now) }
        schedule(at: now + LoadRun.sweepInterval) { [weak self] in self?.sweep() }
    }

    private func tell() {
        guard phase != .ended else { return }
        let now = NIODeadline.now()
        let seconds = Double((now - lastProgress.time).nanoseconds) / 1e9
        report(
            LoadProgress(
                time: time(now), open: clients.values.count { $0.isInTurn },
                streams: clients.values.count { $0.isFollowing }, ended: record.done,
                tokensPerSecond: seconds > 0 ? Double(record.tokens - lastProgress.tokens) / seconds : 0,
                errors: record.errors.sum, violations: record.violations, isDraining: phase == .draining))
        lastProgress = (now, record.tokens)
        schedule(at: now + LoadRun.progressInterval) { [weak self] in self?.tell() }
    }
}

/// How a run stands.
struct LoadProgress: Sendable {
    let time: Duration
    /// Turns that are begun and not ended, and those of them that have a connection for their stream.
    let open: Int
    let streams: Int
    let ended: Int
    let tokensPerSecond: Double
    let errors: Int
    let violations: Int
    let isDraining: Bool
}

extension LoadPlan {
    /// The time in which clients arrive in a closed system; afterwards the load is steady.
    var ramp: Duration {
        if case .clients(_, let span) = arrivals { return span }
        return .zero
    }
}
