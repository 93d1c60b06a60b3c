import ChatClient
import Foundation
import NIOCore
import NIOHTTP1

/// One simulated client: takes the turns of its conversation one after the other. Confined to the run's event loop.
///
/// It carries out what its `LoadTurn` says, and tells it what came of it. What it waits for holds it, and lets go when it
/// comes or is called off; weak references would make each of its uses slower.
final class LoadClient {
    private unowned let run: LoadRun
    private let user: String
    /// Where its first request goes; the streams of a run are spread evenly.
    private let gateway: Int
    private var conversation: PromptSource.Conversation
    private var spoken = 0
    private var conversationID: Int64?

    private var turn: LoadTurn?
    private var connection: StreamConnection?
    private var pause: Scheduled<Void>?
    /// The token behind which this turn's connection is dropped on purpose, and the moment.
    private var dropToken: Int?
    private var dropAt: NIODeadline?

    init(_ run: LoadRun, user: String, gateway: Int, conversation: PromptSource.Conversation) {
        self.run = run
        self.user = user
        self.gateway = gateway
        self.conversation = conversation
    }

    var isInTurn: Bool { turn != nil }
    var isFollowing: Bool { connection != nil }

    func begin(due: NIODeadline) {
        let now = NIODeadline.now()
        run.record.late.record(nanoseconds: (now - due).nanoseconds)
        run.record.begun += 1
        let turn = run.newTurn(due: due, gateway: gateway)
        self.turn = turn
        dropToken = run.plan.reconnects.token(of: run.plan.maxTokens, using: &run.random)
        take(turn.first)
    }

    // MARK: Carrying out

    private func take(_ step: LoadTurn.Step) {
        switch step {
        case .end(let ending): end(ending)
        case .send(let request, let gateway, let pause) where pause > .zero:
            self.pause = run.schedule(in: pause) { self.send(request, gateway) }
        case .send(let request, let gateway, _): send(request, gateway)
        }
    }

    private func send(_ request: LoadTurn.Request, _ gateway: Int) {
        pause = nil
        switch request {
        case .begin: begin(at: gateway)
        case .follow(let turn, let lastEventID): follow(turn, lastEventID, gateway)
        }
    }

    private func begin(at gateway: Int) {
        guard let turn else { return }
        var request = ChatRequest(message: conversation.messages[spoken], userID: user)
        request.system = spoken == 0 ? conversation.system : nil
        request.conversationID = conversationID
        request.maxTokens = run.plan.maxTokens
        guard let body = try? run.encoder.encode(request) else {
            return end(.failed("a request that cannot be written", retryAfter: nil))
        }
        run.post(body, key: turn.idempotencyKey, gateway: gateway) { result in
            // Whoever was cut or began anew in the meantime has no use for the answer.
            guard self.turn?.idempotencyKey == turn.idempotencyKey else { return }
            self.answered(result)
        }
    }

    private func answered(_ result: Result<HTTPAnswer, Loss>) {
        let now = NIODeadline.now()
        switch result {
        case .failure(let loss): step { $0.lost(loss, at: now, into: &$1, using: &$2) }
        case .success(let answer):
            for header in answer.headers["Server-Timing"] { run.record.recordServerTiming(header) }
            let retryAfter = answer.headers.first(name: "Retry-After")
            step {
                $0.answered(answer.status, answer.body, retryAfter: retryAfter, at: now, into: &$1, using: &$2)
            }
        }
    }

    private func follow(_ turn: String, _ lastEventID: String?, _ gateway: Int) {
        let life = run.plan.reconnects.life(using: &run.random)
        dropAt = life.map { NIODeadline.now() + .nanoseconds(Int64($0 / .nanoseconds(1))) }
        connection = run.stream(turn, lastEventID: lastEventID, gateway: gateway) { self.heard($0) }
    }

    private func heard(_ news: StreamConnection.News) {
        let now = NIODeadline.now()
        switch news {
        case .items(let items):
            guard let next = take(items, at: now) else { break }
            closeStream()
            take(next)
        case .refused(let answer):
            connection = nil
            let retryAfter = answer.headers.first(name: "Retry-After")
            step { $0.refused(answer.status, answer.body, retryAfter: retryAfter, at: now, into: &$1, using: &$2) }
        case .lost(let loss):
            connection = nil
            step { $0.lost(loss, at: now, into: &$1, using: &$2) }
        }
    }

    private func take(_ items: [EventStreamParser.Item], at now: NIODeadline) -> LoadTurn.Step? {
        if let next = turn?.take(items, at: now, into: &run.record, using: &run.random) { return next }
        guard let turn, let token = dropToken, turn.tokens >= token else { return nil }
        dropToken = nil
        return self.turn?.dropped(at: now, into: &run.record, using: &run.random)
    }

    private func step(_ decide: (inout LoadTurn, inout LoadRecord, inout SplitMix) -> LoadTurn.Step) {
        guard var turn else { return }
        let next = decide(&turn, &run.record, &run.random)
        self.turn = turn
        take(next)
    }

    /// Looks whether the stream's connection is silent for too long, or is to be dropped; called again and again.
    func sweep(at now: NIODeadline) {
        guard let connection else { return }
        if now - connection.lastHeard > run.silence {
            connection.fail(Loss(reason: "it fell silent"))
        } else if let dropAt, now >= dropAt {
            closeStream()
            step { $0.dropped(at: now, into: &$1, using: &$2) }
        }
    }

    // MARK: Ending

    private func end(_ ending: LoadTurn.Ending) {
        closeStream()
        turn = nil
        dropToken = nil
        spoken += 1
        var rest = Duration.zero
        switch ending {
        case .done(let id):
            run.record.done += 1
            conversationID = id
        case .failed(let reason, let retryAfter):
            run.record.errors.count(reason)
            // What a refused client says next it says later, as it was asked to; in a conversation of its own.
            rest = retryAfter ?? LoadClient.pauseAfterFailure
            spoken = conversation.messages.count
        }
        let hasMore = spoken < conversation.messages.count
        guard let pause = run.ended(self, hasMore: hasMore) else { return }
        if !hasMore {
            conversation = run.newConversation()
            (spoken, conversationID) = (0, nil)
        }
        let due = NIODeadline.now() + .nanoseconds(Int64(max(pause, rest) / .nanoseconds(1)))
        // Also without a pause not at once: a cluster that answers in no time would grow the stack.
        self.pause = run.schedule(at: due) { self.begin(due: due) }
    }

    private static let pauseAfterFailure: Duration = .seconds(1)

    private func closeStream() {
        connection?.drop()
        connection = nil
        dropAt = nil
    }

    /// Leaves, whatever it is at.
    func cut() {
        pause?.cancel()
        closeStream()
        if let turn {
            // Cut in the midst of its answer it proves nothing; that nothing ever came is a failure.
            if turn.tokens > 0 {
                run.record.cut += 1
            } else {
                run.record.errors.count(turn.id == nil ? "no answer before the end" : "no token before the end")
            }
        }
        turn = nil
    }
}
