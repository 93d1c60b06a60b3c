import ChatCore
import Hummingbird
import Logging
import Metrics
import NIOCore
import Synchronization
import TurnProtocol

/// The answer of one client that follows a turn token by token.
///
/// It has no task while it waits, and none for the common case: a hint with the next tokens is written by whoever
/// brought it. Only what has to ask Redis, or finds the socket full, runs in a task, and that ends with it. Ten thousand
/// open streams are then ten thousand of these objects.
final class StreamAnswer: Sendable {
    struct Environment: Sendable {
        let relay: TurnRelay
        /// Silence after which a comment is written.
        let heartbeat: Duration
        /// From hearing of tokens to having them written.
        let writeTime: Timer
        let logger: Logger
    }

    private enum Progress {
        /// Nothing is under way; the position waits here.
        case waiting(Position)
        /// A task has the position.
        case working
        case over
    }

    private struct Position {
        var reader: TurnReader
        var lastWrite = ContinuousClock.now
    }

    private struct State {
        var progress: Progress
        var news: [TurnRelay.News] = []
        var hasGap = false
    }

    /// What is to be written next.
    private enum Passage {
        case text(String)
        /// The last of the answer.
        case end(String)
        case nothing
    }

    private let environment: Environment
    private let connection: ClientConnection
    private let state: Mutex<State>

    private init(_ reader: TurnReader, on connection: ClientConnection, _ environment: Environment) {
        self.environment = environment
        self.connection = connection
        state = Mutex(State(progress: .waiting(Position(reader: reader))))
    }

    /// Takes a connection on which the head of a response was sent, and answers on it until the turn has ended or the
    /// client has left.
    /// - Throws: `APIError` when this gateway has as many readers as it takes, or of this key or turn.
    static func begin(
        of place: TurnReader.Place, on connection: ClientConnection, _ environment: Environment
    ) throws(APIError) {
        let token = environment.relay.nextToken()
        let answer = StreamAnswer(
            TurnReader(place, relay: environment.relay, token: token), on: connection, environment)
        try environment.relay.register(token, of: place, isResumable: true) { answer.hear($0) }
        connection.onLeave { answer.leave(place.turn, token) }
        // The log is read first; what is appended meanwhile waits.
        answer.hear(.reread)
    }

    // MARK: News

    /// - Returns: false when the news were not taken: too many wait already.
    @discardableResult
    private func hear(_ news: TurnRelay.News) -> Bool {
        let (isTaken, position) = state.withLock { state -> (Bool, Position?) in
            // A client that does not read comes back elsewhere once it finds its stream cut off: nothing waits for it.
            if case .leave = news, !connection.hasRoom {
                connection.channel.close(promise: nil)
                return (true, nil)
            }
            switch state.progress {
            case .over: return (true, nil)
            case .working:
                guard state.news.count < TurnRelay.newsCapacity else {
                    state.hasGap = true
                    return (false, nil)
                }
                state.news.append(news)
                return (true, nil)
            case .waiting(var position):
                // Written under the lock, so that nothing overtakes it.
                if writeAtOnce(news, &position) {
                    state.progress = .waiting(position)
                    return (true, nil)
                }
                state.news.append(news)
                state.progress = .working
                return (true, position)
            }
        }
        if let position { Task { await work(position) } }
        return isTaken
    }

    /// - Returns: false, with nothing changed, when a task is needed.
    private func writeAtOnce(_ news: TurnRelay.News, _ position: inout Position) -> Bool {
        guard connection.hasRoom else { return false }
        var next = position
        let (events, mustRead) = next.reader.take([news], hasGap: false)
        guard !mustRead, next.reader.leave == nil else { return false }
        switch passage(events, ServerSentEvents.text(of: events), next) {
        case .end: return false
        case .nothing: break
        case .text(let text):
            guard (try? connection.sendAtOnce([.body(ByteBuffer(string: text))])) != nil else { return false }
            noteWrite(&next)
        }
        position = next
        return true
    }

    private func work(_ start: Position) async {
        var position = start
        while let (news, hasGap) = takeNews(&position) {
            do {
                var (events, mustRead) = position.reader.take(news, hasGap: hasGap)
                if mustRead { events += try await position.reader.read() }
                switch passage(events, try await text(of: events), position) {
                case .nothing: break
                case .text(let text):
                    try await connection.send([.body(ByteBuffer(string: text))])
                    noteWrite(&position)
                case .end(let text):
                    // The client may use the connection again at once: nothing of ours comes after this.
                    end(position)
                    try connection.finish([.body(ByteBuffer(string: text)), .end(nil)])
                    return
                }
            } catch {
                environment.logger.debug(
                    "a stream was cut off", metadata: ["turn": "\(position.reader.turn)", "error": "\(error)"])
                end(position)
                return connection.channel.close(promise: nil)
            }
        }
    }

    /// What has come; nil when there is nothing, and then the position waits again, or when the answer is over.
    private func takeNews(_ position: inout Position) -> (news: [TurnRelay.News], hasGap: Bool)? {
        state.withLock { state in
            if case .over = state.progress { return nil }
            guard !state.news.isEmpty || state.hasGap else {
                state.progress = .waiting(position)
                return nil
            }
            defer { (state.news, state.hasGap) = ([], false) }
            return (state.news, state.hasGap)
        }
    }

    // MARK: Writing

    /// A log that is read from its beginning may be as long as a model's context. Its events are the client's alone by
    /// now: while the pool is full they wait.
    private func text(of events: [TurnEvent]) async throws -> String {
        let pool = environment.relay.pool
        return try await Patience(logger: environment.logger) { !self.isOver }.callAsFunction {
            try await pool.run(bytes: ServerSentEvents.bytes(of: events)) { _ in ServerSentEvents.text(of: events) }
        }
    }

    private func passage(_ events: [TurnEvent], _ text: String, _ position: Position) -> Passage {
        if case .end = events.last { return .end(text) }
        // This gateway drains: the stream ends here, and the client goes on at another.
        if let pause = position.reader.leave { return .end(text + ServerSentEvents.retry(after: pause)) }
        if !text.isEmpty { return .text(text) }
        return position.lastWrite + environment.heartbeat < .now ? .text(ServerSentEvents.heartbeat) : .nothing
    }

    private var isOver: Bool {
        state.withLock { if case .over = $0.progress { true } else { false } }
    }

    private func noteWrite(_ position: inout Position) {
        position.lastWrite = .now
        if let heard = position.reader.heard {
            environment.writeTime.recordNanoseconds(Int64((position.lastWrite - heard) / .nanoseconds(1)))
        }
    }

    // MARK: The end

    private func end(_ position: Position) {
        state.withLock { $0.progress = .over }
        environment.relay.leave(position.reader.turn, position.reader.token)
    }

    /// The client has left. Its turn goes on for the grace, then the orchestrator cancels it.
    private func leave(_ turn: TurnID, _ token: UInt64) {
        let wasOver = state.withLock { state in
            defer { (state.progress, state.news) = (.over, []) }
            if case .over = state.progress { return true }
            return false
        }
        guard !wasOver else { return }
        environment.logger.debug("a reader left", metadata: ["turn": "\(turn)"])
        environment.relay.leave(turn, token)
        connection.channel.close(promise: nil)
    }
}
