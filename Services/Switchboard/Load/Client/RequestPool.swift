import ChatClient
import DequeModule
import NIOCore
import NIOHTTP1

/// The connections to one gateway for requests that are answered at once. Confined to its event loop.
///
/// A request takes the connection that was used last, a new one when none is free, and waits its turn when there are as
/// many as there may be. Waiting requests are no more than turns that may be open.
final class RequestPool {
    private struct Waiting {
        let head: HTTPRequestHead
        let body: ByteBuffer
        let completion: RequestConnection.Completion
    }

    private let dialer: Dialer
    private let timeout: TimeAmount
    private var idle: [RequestConnection] = []
    private var open: [ObjectIdentifier: RequestConnection] = [:]
    private var connecting = 0
    private var waiting = Deque<Waiting>()

    /// Shorter than any server keeps an idle connection, so that no request meets one that is about to go.
    private static let longestIdle: TimeAmount = .seconds(10)

    init(_ dialer: Dialer, timeout: TimeAmount) {
        self.dialer = dialer
        self.timeout = timeout
    }

    func send(_ head: HTTPRequestHead, body: ByteBuffer, _ completion: @escaping RequestConnection.Completion) {
        waiting.append(Waiting(head: head, body: body, completion: completion))
        serve()
    }

    /// Each request that waits for want of a connection brings one more, up to the bound.
    private func serve() {
        while !waiting.isEmpty, let connection = idle.popLast() {
            let next = waiting.removeFirst()
            connection.send(next.head, body: next.body, deadline: .now() + timeout, next.completion)
        }
        while waiting.count > connecting, open.count + connecting < LoadPlan.maximumRequestConnections { connect() }
    }

    private func connect() {
        connecting += 1
        let connection = RequestConnection()
        connection.onIdle = { [weak self] connection in
            self?.idle.append(connection)
            self?.serve()
        }
        connection.onClose = { [weak self] connection in
            self?.open[ObjectIdentifier(connection)] = nil
            self?.idle.removeAll { $0 === connection }
            self?.serve()
        }
        dialer.connect(connection) { [weak self] failure in
            guard let self else { return }
            connecting -= 1
            if let failure {
                // Who waits first hears of it, and decides where to try again.
                if let first = waiting.popFirst() { first.completion(.failure(failure)) }
            } else {
                open[ObjectIdentifier(connection)] = connection
                idle.append(connection)
                serve()
            }
        }
    }

    /// Gives up what is late and closes what has been idle for long; to be called again and again.
    func sweep(at now: NIODeadline) {
        for connection in open.values {
            if connection.isBusy {
                if now > connection.deadline { connection.close(Loss(reason: "it does not answer")) }
            } else if now - connection.idleSince > RequestPool.longestIdle {
                idle.removeAll { $0 === connection }
                connection.close(Loss(reason: "idle"))
            }
        }
    }
}
