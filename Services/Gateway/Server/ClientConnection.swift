import NIOCore
import NIOHTTPTypes
import Synchronization

/// A client's connection as the task that answers on it sees it: takes an answer's parts, says when there is room for
/// more, and when the client has left.
final class ClientConnection: Sendable {
    private struct State {
        var isOpen = true
        var isWritable = true
        /// Bytes on their way to the connection's thread, which alone knows whether the socket takes them.
        var handedOver = 0
        var hasInput = true
        /// What is to be done when the client leaves in the midst of an answer.
        var onLeave: (@Sendable () -> Void)?
        /// The task of the answer under way, for as long as it runs: a task that has ended keeps its stack until nobody
        /// refers to it, and a stream goes on long after the task that began it.
        var answer: Task<Void, Never>?
        /// Counts answers, so that the end of one does not let go of the next.
        var begun: UInt64 = 0
        var writer: CheckedContinuation<Void, Never>?

        var hasRoom: Bool { isWritable && handedOver < ClientConnection.maximumHandedOver }

        mutating func takeWriter() -> CheckedContinuation<Void, Never>? { writer.take() }
    }

    /// A writer waits when this much is on its way (bytes), or when the socket takes no more.
    static let maximumHandedOver = 64 << 10

    let channel: any Channel
    private let state = Mutex(State())

    init(channel: any Channel) { self.channel = channel }

    // MARK: For the answer

    /// Has `action` called once, on any thread, when the client leaves: also when it only ends its side of the
    /// connection. An answer that is soon over does without: a client may say everything, end its side, and then listen.
    func onLeave(_ action: @escaping @Sendable () -> Void) {
        let isHere = state.withLock { state in
            guard state.hasInput, state.isOpen else { return false }
            state.onLeave = action
            return true
        }
        if !isHere { action() }
    }

    /// The rest of this answer, in its own task, is cancelled when the client leaves.
    func leaveWithClient() {
        onLeave { [weak self] in self?.state.withLock { $0.answer }?.cancel() }
    }

    /// Whether parts can be sent without waiting.
    var hasRoom: Bool { state.withLock { $0.hasRoom } }

    /// Sends parts whether there is room or not.
    /// - Throws: `CancellationError` when the client has left.
    func sendAtOnce(_ parts: [HTTPResponsePart]) throws { try write(parts) }

    /// Sends parts, and returns when there is room for more.
    /// - Throws: `CancellationError` when the client has left.
    func send(_ parts: [HTTPResponsePart]) async throws {
        try write(parts)
        guard !hasRoom else { return }
        try await waitForRoom()
    }

    /// Sends the last parts of an answer. From then on the connection is the next one's.
    func finish(_ parts: [HTTPResponsePart]) throws { try write(parts) }

    private func write(_ parts: [HTTPResponsePart]) throws {
        let bytes = parts.reduce(0) { sum, part in
            if case .body(let buffer) = part { sum + buffer.readableBytes } else { sum }
        }
        let isOpen = state.withLock { state in
            guard state.isOpen, !Task.isCancelled else { return false }
            state.handedOver += bytes
            return true
        }
        guard isOpen else { throw CancellationError() }
        // One hop to the connection's thread for all of them, and one flush.
        channel.eventLoop.execute { [self] in
            for part in parts { channel.write(part, promise: nil) }
            channel.flush()
            arrived(bytes, isWritable: channel.isWritable)
        }
    }

    private func arrived(_ bytes: Int, isWritable: Bool) {
        let writer = state.withLock { state in
            state.handedOver -= bytes
            state.isWritable = isWritable
            return state.hasRoom ? state.takeWriter() : nil
        }
        writer?.resume()
    }

    private func waitForRoom() async throws {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mayGoOn = state.withLock { state in
                    if state.hasRoom || !state.isOpen || Task.isCancelled { return true }
                    state.writer = continuation
                    return false
                }
                if mayGoOn { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.takeWriter() }?.resume()
        }
        guard state.withLock({ $0.isOpen }), !Task.isCancelled else { throw CancellationError() }
    }

    // MARK: For the connection's handler

    /// Starts the answer of a request.
    func begin(_ answer: @escaping @Sendable () async -> Void) {
        state.withLock { state in
            state.onLeave = nil
            state.begun += 1
            let number = state.begun
            state.answer = Task {
                await answer()
                self.state.withLock { if $0.begun == number { $0.answer = nil } }
            }
        }
    }

    func setWritable(_ isWritable: Bool) {
        let writer = state.withLock { state in
            state.isWritable = isWritable
            return state.hasRoom ? state.takeWriter() : nil
        }
        writer?.resume()
    }

    func inputEnded() {
        let onLeave = state.withLock { state in
            state.hasInput = false
            return state.onLeave.take()
        }
        onLeave?()
    }

    func closed() {
        let (answer, writer, onLeave) = state.withLock { state in
            state.isOpen = false
            return (state.answer.take(), state.takeWriter(), state.onLeave.take())
        }
        onLeave?()
        answer?.cancel()
        writer?.resume()
    }
}
