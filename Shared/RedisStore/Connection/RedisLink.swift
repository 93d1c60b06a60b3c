import CHiredis
import Foundation
import Logging
import ServiceKit

/// The half of a connection that lives on its thread: connects, greets, reads, notices silence, and comes back.
actor RedisLink {
    enum Event: Sendable {
        case ready
        case lost
        /// The server refused the greeting, in these words; the connection is not ready.
        case refused(String)
        /// A reply that no command waits for: what a subscribed connection is sent.
        case push(RedisValue)
    }

    nonisolated let executor: SocketExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated let queue: CommandQueue

    private let configuration: RedisConfiguration
    private let isSubscriber: Bool
    private let logger: Logger
    private let listener: @Sendable (Event) -> Void

    /// Addresses of the host that were found and not tried yet.
    private var addresses: [String] = []
    private var isLookingUp = false
    private var awaitsAddress = false
    private var context: UnsafeMutablePointer<redisContext>?
    private var isReady = false
    private var isStopped = true
    private var backoff = Backoff()
    /// When this life of the connection became ready.
    private var readySince: ContinuousClock.Instant?
    private var timer: SocketExecutor.TimerID?
    private var lastHeard = ContinuousClock.now
    private var inbound = [UInt8](repeating: 0, count: 64 << 10)

    /// - Parameters:
    ///   - isSubscriber: replies that nobody waits for are pushes, and silence is broken with PING.
    ///   - listener: called on the thread; must not block.
    init(
        configuration: RedisConfiguration, executor: SocketExecutor, isSubscriber: Bool = false, logger: Logger,
        listener: @escaping @Sendable (Event) -> Void
    ) {
        self.configuration = configuration
        self.executor = executor
        self.isSubscriber = isSubscriber
        self.logger = logger
        self.listener = listener
        queue = CommandQueue(
            maximumPending: configuration.maximumPending, maximumUnsentBytes: configuration.maximumUnsentBytes)
    }

    func start() {
        guard isStopped else { return }
        isStopped = false
        connect()
    }

    /// Ends this connection, if it stands and nothing waits on it, and makes another.
    func renew(_ reason: String) {
        if isReady, queue.retire(reason) { lose(reason) }
    }

    func stop() {
        isStopped = true
        awaitsAddress = false
        addresses = []
        lose("the connection is shut down")
        setTimer(nil) { _ in }
    }
}

// MARK: Connecting

extension RedisLink {
    private func connect() {
        guard !isStopped else { return }
        if addresses.isEmpty, let literal = HostAddresses.literal(configuration.host) { addresses = literal }
        guard !addresses.isEmpty else { return lookUp() }
        connect(to: addresses.removeFirst())
    }

    /// The name is looked up for each new connection: it may lead elsewhere by now. One question at a time: an answer that
    /// comes too late for this attempt is the next one's.
    private func lookUp() {
        awaitsAddress = true
        setTimer(configuration.connectTimeout) { link in
            link.awaitsAddress = false
            link.queue.close("the name of its host is not found within the time-out", at: .now)
            link.retry("no answer to the question for \(link.configuration.host) within the time-out")
        }
        guard !isLookingUp else { return }
        isLookingUp = true
        HostAddresses.find(configuration.host, by: configuration.lookUp) { [weak self] result in
            Task { await self?.lookedUp(result) }
        }
    }

    private func lookedUp(_ result: Result<[String], HostAddresses.Failure>) {
        isLookingUp = false
        guard !isStopped else { return }
        var reason = "\(configuration.host) has no address"
        switch result {
        case .success(let found): addresses = found
        case .failure(let failure): reason = failure.reason
        }
        guard awaitsAddress else { return }
        awaitsAddress = false
        guard addresses.isEmpty else { return connect() }
        queue.close(reason, at: .now)
        retry(reason)
    }

    private func connect(to address: String) {
        guard let context = redisConnectNonBlock(address, Int32(clamping: configuration.port)) else {
            return retry("out of memory")
        }
        guard context.pointee.err == 0 else {
            let reason = withUnsafeBytes(of: context.pointee.errstr) { text in
                String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
            }
            redisFree(context)
            return retry(reason)
        }
        self.context = context
        _ = fcntl(context.pointee.fd, F_SETFD, FD_CLOEXEC)
        watch(.writable) { $0.becomeConnected() }
        setTimer(configuration.connectTimeout) { $0.lose("no connection within the time-out") }
    }

    private func becomeConnected() {
        guard let context else { return }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(context.pointee.fd, SOL_SOCKET, SO_ERROR, &code, &size)
        guard code == 0 else { return lose(String(cString: strerror(code))) }
        watch(.readable) { $0.read() }
        queue.open(context.pointee.fd) { [weak self] generation in
            Task { await self?.writeWhenThereIsRoom(generation) }
        }
        greet()
    }

    private func greet() {
        var bytes: [UInt8] = []
        var names: [String] = []
        func add(_ command: String, _ arguments: RedisArgument...) {
            CommandEncoder.append(command, arguments, to: &bytes)
            names.append(command)
        }
        if let password = configuration.password { add("AUTH", .text(password)) }
        add("CLIENT", "SETNAME", .text(configuration.clientName))
        // PING is refused while the server loads its data and while it wants a password: only then are we ready.
        add("PING")
        let commands = names
        queue.submit(bytes, replies: commands.count, timeout: configuration.connectTimeout, asGreeting: true) {
            [weak self] result in
            self?.assumeIsolated { $0.becomeReady(result, commands) }
        }
    }

    private func becomeReady(_ result: Result<[RedisValue], RedisError>, _ commands: [String]) {
        // A failure is the connection's end, which is being dealt with already.
        guard case .success(let replies) = result else { return }
        for (command, reply) in zip(commands, replies) {
            // A server whose disk is full refuses PING, and answers what reads.
            if case .error(let text) = reply, RedisRefusal(text).kind != .outageOfWrites {
                listener(.refused(text))
                return lose("\(command) refused: \(text)")
            }
        }
        isReady = true
        addresses = []
        readySince = .now
        lastHeard = .now
        queue.becomeReady()
        logger.info("connected to Redis", metadata: ["host": "\(configuration.host)", "port": "\(configuration.port)"])
        listener(.ready)
        tick()
    }

    private func retry(_ reason: String) {
        logger.warning("no connection to Redis", metadata: ["reason": "\(reason)"])
        guard !isStopped else { return }
        let life = readySince.take().map { .now - $0 } ?? Duration.zero
        setTimer(backoff.next(afterLifeOf: life)) { $0.connect() }
    }

    /// Ends this life of the connection, whatever state it is in, and begins the wait for the next one.
    private func lose(_ reason: String) {
        guard let context else { return }
        self.context = nil
        let wasReady = isReady
        isReady = false
        executor.unwatch(context.pointee.fd)
        queue.close(reason, at: .now)
        redisFree(context)
        if wasReady { listener(.lost) }
        if !isStopped { retry(reason) }
    }
}

// MARK: Reading and waiting

extension RedisLink {
    private func read() {
        guard let context else { return }
        lastHeard = .now
        let count = recv(context.pointee.fd, &inbound, inbound.count, 0)
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        guard count > 0 else {
            return lose(count == 0 ? "the server closed the connection" : String(cString: strerror(errno)))
        }
        let isFed = inbound.withUnsafeBytes {
            redisReaderFeed(context.pointee.reader, $0.bindMemory(to: CChar.self).baseAddress, count) == REDIS_OK
        }
        guard isFed else { return lose("out of memory for a reply") }
        // A reply may end this connection (a refused greeting): look each time whether it is still the same.
        while self.context == context {
            var reply: UnsafeMutableRawPointer?
            guard redisReaderGetReply(context.pointee.reader, &reply) == REDIS_OK else {
                return lose("the server does not speak the Redis protocol")
            }
            guard let reply else { return }
            let value = RedisValue(reply.assumingMemoryBound(to: redisReply.self))
            freeReplyObject(reply)
            if !queue.deliver(value) {
                guard isSubscriber else { return lose("a reply without a command") }
                listener(.push(value))
            }
        }
    }

    private func writeWhenThereIsRoom(_ generation: UInt64) {
        watch([.readable, .writable]) { link in
            link.watch(.readable) { $0.read() }
            link.queue.write(generation)
            link.read()
        }
    }

    /// Looks for overdue replies, a few times within the time-out. An overdue reply means a server that hangs: whatever
    /// was asked after it waits as well, so the connection is given up as a whole.
    private func tick() {
        guard isReady else { return }
        let now = ContinuousClock.now
        if queue.isOverdue(at: now) { return lose("no reply within the time-out") }
        if isSubscriber {
            let silence = now - lastHeard
            if silence > configuration.commandTimeout * 2 { return lose("silence beyond the time-out") }
            if silence > configuration.commandTimeout { ping() }
        }
        setTimer(max(.milliseconds(10), min(.milliseconds(250), configuration.commandTimeout / 4))) { $0.tick() }
    }

    private func ping() {
        var bytes: [UInt8] = []
        CommandEncoder.append("PING", [], to: &bytes)
        queue.submit(bytes, replies: 0, timeout: configuration.commandTimeout) { _ in }
    }

    private func watch(_ events: SocketExecutor.Readiness, _ action: @escaping @Sendable (isolated RedisLink) -> Void) {
        guard let context else { return }
        executor.watch(context.pointee.fd, for: events) { [weak self] _ in
            self?.assumeIsolated { action($0) }
        }
    }

    /// The one timer: connecting, waiting to reconnect and ticking exclude each other.
    private func setTimer(_ delay: Duration?, _ action: @escaping @Sendable (isolated RedisLink) -> Void) {
        if let timer { executor.cancel(timer) }
        timer = delay.map { delay in
            executor.schedule(after: delay) { [weak self] in self?.assumeIsolated { action($0) } }
        }
    }
}
