import Logging
import ServiceKit

/// One AMQP 0-9-1 connection with one channel, of which nothing blocks: methods that the broker answers are calls that
/// suspend, everything else is an event.
///
/// One channel is all an owner needs: publisher, consumer and inspector each have a connection, so that the broker's
/// pushing back on publishers never delays acknowledgements.
///
/// Confined to its executor's thread: it belongs to the one actor that opened it.
final class Connection {
    enum Event: Sendable {
        /// A delivery or a returned message.
        case content(ContentAssembler.Content)
        case confirmed(deliveryTag: UInt64, multiple: Bool)
        case refused(deliveryTag: UInt64, multiple: Bool)
        /// The broker ended a consumer: its queue is gone.
        case consumerCancelled(tag: String)
        /// The broker stops reading from publishers (memory or disk alarm), or reads again.
        case blocked(Bool)
        /// Only the channel is gone; `openChannel` makes a new one.
        case channelClosed(RabbitError)
        /// Comes once, last.
        case ended(RabbitError)
    }

    private typealias Reply = Result<IncomingMethod, RabbitError>

    private static let channel: UInt16 = 1
    /// The frame size both sides agree on at most; the broker's default.
    private static let frameMaximum = 128 << 10

    private let stream: SocketStream
    private let executor: SocketExecutor
    private let configuration: RabbitConfiguration
    private let logger: Logger
    private let encoder = FrameEncoder()
    private let decoder: FrameDecoder
    private var assembler: ContentAssembler
    private var onEvent: (Event) -> Void = { _ in }
    /// The broker answers in the order of the calls.
    private var calls: [(timer: SocketExecutor.TimerID, continuation: CheckedContinuation<Reply, Never>)] = []
    private var endWaiters: [CheckedContinuation<RabbitError, Never>] = []
    private(set) var failure: RabbitError?
    private(set) var broker = BrokerVersion(major: 0)
    private var heartbeatTimer: SocketExecutor.TimerID?
    private var lastReceived = ContinuousClock.now
    private var hasSentSinceTick = false
    /// For tests: the heartbeats that came from the broker.
    private(set) var heartbeatsReceived = 0
    private(set) var heartbeatsSent = 0

    private init(
        stream: SocketStream, executor: SocketExecutor, configuration: RabbitConfiguration, logger: Logger
    ) throws(RabbitError) {
        self.stream = stream
        self.executor = executor
        self.configuration = configuration
        self.logger = logger
        decoder = try FrameDecoder()
        assembler = ContentAssembler(maximumBodyBytes: configuration.maximumBodyBytes)
    }

    // MARK: Opening and closing

    /// Connects, logs in and opens the channel.
    /// - Parameter onEvent: called on the executor's thread.
    static func open(
        _ configuration: RabbitConfiguration, role: String, executor: SocketExecutor, logger: Logger,
        isolation: isolated (any Actor)? = #isolation, onEvent: @escaping (Event) -> Void
    ) async throws(RabbitError) -> Connection {
        let stream = try await SocketStream.connect(
            host: configuration.host, port: configuration.port, timeout: configuration.connectTimeout,
            maximumUnsentBytes: configuration.maximumUnsentBytes, executor: executor)
        let connection: Connection
        do {
            connection = try Connection(
                stream: stream, executor: executor, configuration: configuration, logger: logger)
        } catch {
            stream.close()
            throw error
        }
        connection.onEvent = onEvent
        do {
            try await connection.logIn(role: role)
            try await connection.openChannel()
        } catch {
            connection.end(error)
            throw error
        }
        return connection
    }

    private func logIn(role: String, isolation: isolated (any Actor)? = #isolation) async throws(RabbitError) {
        stream.start(
            onBytes: { [weak self] in self?.receive($0) },
            onEnd: { [weak self] in self?.end($0) })
        stream.write(FrameEncoder.protocolHeader)
        guard case .connectionStart(let mechanisms, let version) = try await reply(within: configuration.connectTimeout)
        else { throw .protocolViolation("no connection.start") }
        broker = BrokerVersion(version)
        guard mechanisms.split(separator: " ").contains("PLAIN") else {
            throw .protocolViolation("the broker offers no PLAIN login")
        }
        try send(
            .connectionStartOk(
                user: configuration.user, password: configuration.password,
                clientName: "\(configuration.clientName) \(role)"), channel: 0)
        guard case .connectionTune(let offered) = try await reply(within: configuration.connectTimeout) else {
            throw .protocolViolation("no connection.tune")
        }
        // 0 means that the broker sets no limit.
        let frameMaximum = offered == 0 ? Self.frameMaximum : min(offered, Self.frameMaximum)
        guard frameMaximum >= 4096 else { throw .protocolViolation("frame maximum \(offered)") }
        try decoder.limitFrames(to: frameMaximum)
        encoder.frameMaximum = frameMaximum
        try send(
            .connectionTuneOk(frameMaximum: frameMaximum, heartbeatSeconds: configuration.heartbeatSeconds), channel: 0)
        try send(.connectionOpen(virtualHost: configuration.virtualHost), channel: 0)
        guard case .connectionOpenOk = try await reply(within: configuration.connectTimeout) else {
            throw .protocolViolation("no connection.open-ok")
        }
        beatRegularly()
    }

    func openChannel(isolation: isolated (any Actor)? = #isolation) async throws(RabbitError) {
        assembler = ContentAssembler(maximumBodyBytes: configuration.maximumBodyBytes)
        guard case .channelOpenOk = try await call(.channelOpen) else {
            throw .protocolViolation("no channel.open-ok")
        }
    }

    /// Closes the channel, and with it every claim on its deliveries, and opens it anew.
    func reopenChannel(isolation: isolated (any Actor)? = #isolation) async throws(RabbitError) {
        guard case .channelCloseOk = try await call(.channelClose) else {
            throw .protocolViolation("no channel.close-ok")
        }
        try await openChannel()
    }

    /// Says goodbye: the broker carries out what was sent before it.
    func close(isolation: isolated (any Actor)? = #isolation) async {
        guard failure == nil else { return }
        try? send(.connectionClose(code: 200, text: "done"), channel: 0)
        _ = try? await reply(within: configuration.connectTimeout)
        end(.unavailable)
    }

    /// Hangs up without a word; used on a broker that breaks the protocol.
    func end(_ error: RabbitError) {
        guard failure == nil else { return }
        failure = error
        stream.close()
        if let heartbeatTimer { executor.cancel(heartbeatTimer) }
        failCalls(error.asLoss)
        let waiters = endWaiters
        endWaiters = []
        for waiter in waiters { waiter.resume(returning: error) }
        let onEvent = onEvent
        self.onEvent = { _ in }
        onEvent(.ended(error))
    }

    /// Suspends until the connection has ended, and says why it did.
    func ended(isolation: isolated (any Actor)? = #isolation) async -> RabbitError {
        if let failure { return failure }
        return await withCheckedContinuation(isolation: isolation) { endWaiters.append($0) }
    }

    // MARK: Sending

    /// Sends a method that the broker does not answer.
    func send(_ method: OutgoingMethod) throws(RabbitError) {
        try send(method, channel: Self.channel)
    }

    /// Sends several of them in one write.
    func send(_ methods: [OutgoingMethod]) throws(RabbitError) {
        var output: [UInt8] = []
        for method in methods { try encoder.append(method, channel: Self.channel, to: &output) }
        try write(output)
    }

    /// Sends a method and waits for its answer.
    func call(
        _ method: OutgoingMethod, isolation: isolated (any Actor)? = #isolation
    ) async throws(RabbitError) -> IncomingMethod {
        try send(method)
        return try await reply(within: configuration.callTimeout)
    }

    /// Declares a queue in the form that suits the broker.
    /// - Returns: its ready messages and its consumers; both are 0 also when the queue is too slow to say.
    /// - Throws: `.server` with 406 when it exists otherwise; the channel is closed then.
    func declare(
        _ queue: QueueDeclaration, isolation: isolated (any Actor)? = #isolation
    ) async throws(RabbitError) -> (messages: Int, consumers: Int) {
        guard
            case .queueDeclareOk(let messages, let consumers) = try await call(.queueDeclare(queue.formed(for: broker)))
        else { throw .protocolViolation("no queue.declare-ok") }
        return (messages, consumers)
    }

    /// The frames of a message, to be handed to `write`.
    func encode(_ message: OutgoingMessage) throws(RabbitError) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(message.body.count + 512)
        try encoder.append(message, channel: Self.channel, to: &output)
        return output
    }

    func hasRoom(for count: Int) -> Bool { stream.hasRoom(for: count) }

    func write(_ frames: [UInt8]) throws(RabbitError) {
        guard failure == nil else { throw .connectionLost }
        hasSentSinceTick = true
        stream.write(frames)
    }

    private func send(_ method: OutgoingMethod, channel: UInt16) throws(RabbitError) {
        var output: [UInt8] = []
        try encoder.append(method, channel: channel, to: &output)
        try write(output)
    }

    private func reply(
        within timeout: Duration, isolation: isolated (any Actor)? = #isolation
    ) async throws(RabbitError) -> IncomingMethod {
        if let failure { throw failure.asLoss }
        let result: Reply = await withCheckedContinuation(isolation: isolation) { continuation in
            // An unanswered call leaves the answers after it without an owner: the connection is of no use any more.
            let timer = executor.schedule(after: timeout) { [weak self] in self?.end(.timedOut) }
            calls.append((timer, continuation))
        }
        return try result.get()
    }

    private func failCalls(_ error: RabbitError) {
        let failed = calls
        calls = []
        for call in failed {
            executor.cancel(call.timer)
            call.continuation.resume(returning: .failure(error))
        }
    }

    // MARK: Heartbeats

    /// Twice for each heartbeat period, as the RabbitMQ guide on heartbeats asks of clients.
    private func beatRegularly() {
        let period = Duration.seconds(configuration.heartbeatSeconds)
        heartbeatTimer = executor.schedule(after: period / 2) { [weak self] in
            guard let self, failure == nil else { return }
            guard .now - lastReceived <= period * 2 else {
                logger.warning("the broker is silent: connection given up")
                return end(.connectionLost)
            }
            // Behind unsent bytes a heartbeat would come too late and pile up.
            if !hasSentSinceTick, stream.unsentCount == 0 {
                var frame: [UInt8] = []
                encoder.appendHeartbeat(to: &frame)
                stream.write(frame)
                heartbeatsSent += 1
            }
            hasSentSinceTick = false
            beatRegularly()
        }
    }

    // MARK: Receiving

    private func receive(_ bytes: UnsafeRawBufferPointer) {
        lastReceived = .now
        do throws(RabbitError) {
            try decoder.decode(bytes) { frame throws(RabbitError) in
                // A frame before this one may have ended the connection.
                if failure == nil { try receive(frame) }
            }
        } catch {
            logger.error("the broker broke the protocol", metadata: ["error": "\(error)"])
            end(error)
        }
    }

    private func receive(_ frame: IncomingFrame) throws(RabbitError) {
        switch frame {
        case .heartbeat:
            heartbeatsReceived += 1
        case .method(let method, channel: 0):
            try receiveOnConnection(method)
        case .method(let method, channel: Self.channel):
            try assembler.method(method)
            if !method.hasContent { try receive(method) }
        case .header(let header, channel: Self.channel):
            if let content = try assembler.header(header) { onEvent(.content(content)) }
        case .body(let fragment, channel: Self.channel):
            if let content = try assembler.body(fragment) { onEvent(.content(content)) }
        case .method(_, let channel), .header(_, let channel), .body(_, let channel):
            throw .protocolViolation("frame on channel \(channel)")
        }
    }

    private func receiveOnConnection(_ method: IncomingMethod) throws(RabbitError) {
        switch method {
        case .connectionClose(let code, let text):
            try send(.connectionCloseOk, channel: 0)
            end(.server(code: code, text: text))
        case .connectionBlocked(let reason):
            logger.warning("the broker takes no publishes", metadata: ["reason": "\(reason)"])
            onEvent(.blocked(true))
        case .connectionUnblocked:
            onEvent(.blocked(false))
        case .connectionCloseOk:
            // The answer to `close`; a call before it gets no answer any more.
            end(.unavailable)
        case .connectionStart, .connectionTune, .connectionOpenOk:
            try answerCall(with: method)
        default:
            throw .protocolViolation("\(method) on channel 0")
        }
    }

    private func receive(_ method: IncomingMethod) throws(RabbitError) {
        switch method {
        case .basicAck(let tag, let multiple):
            onEvent(.confirmed(deliveryTag: tag, multiple: multiple))
        case .basicNack(let tag, let multiple):
            onEvent(.refused(deliveryTag: tag, multiple: multiple))
        case .basicCancel(let tag):
            onEvent(.consumerCancelled(tag: tag))
        case .channelFlow(let active):
            try send(.channelFlowOk(active: active))
        case .channelClose(let code, let text):
            try send(.channelCloseOk)
            let error = RabbitError.server(code: code, text: text)
            failCalls(error)
            onEvent(.channelClosed(error))
        case .channelOpenOk, .channelCloseOk, .queueDeclareOk, .queueDeleteOk, .confirmSelectOk, .basicQosOk,
            .basicConsumeOk, .basicCancelOk:
            try answerCall(with: method)
        default:
            throw .protocolViolation("\(method)")
        }
    }

    private func answerCall(with method: IncomingMethod) throws(RabbitError) {
        guard !calls.isEmpty else { throw .protocolViolation("answer without a question: \(method)") }
        let call = calls.removeFirst()
        executor.cancel(call.timer)
        call.continuation.resume(returning: .success(method))
    }
}

extension RabbitError {
    /// What a call in flight gets when its connection ends: the broker's own words, or that the outcome is unknown.
    var asLoss: RabbitError {
        switch self {
        case .server, .timedOut: self
        default: .connectionLost
        }
    }
}

extension RabbitConfiguration {
    /// AMQP negotiates whole seconds; 0 would mean none.
    var heartbeatSeconds: Int { Int(min(max((heartbeat.milliseconds + 999) / 1000, 1), 3600)) }
}
