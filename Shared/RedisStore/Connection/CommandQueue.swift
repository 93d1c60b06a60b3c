import Foundation
import Synchronization

/// The half of a connection that callers reach from any thread: the commands that wait for replies, in the order in
/// which they are written, and the bytes still to be written.
///
/// A caller writes its command itself, with a write that never blocks: a hop to the connection's thread first would cost
/// a wake-up for each command. Whoever finds another caller writing leaves its bytes to it, so that under load many
/// commands go out in one write. Only when the socket is full does the connection's thread take over.
final class CommandQueue: Sendable {
    typealias Completion = @Sendable (Result<[RedisValue], RedisError>) -> Void
    /// Writes what the socket takes of the bytes without waiting, as send(2) does.
    /// - Returns: how many bytes it took, or -1 with the reason in `errno`.
    typealias Send = @Sendable (_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int

    private struct Waiting {
        let expected: Int
        let deadline: ContinuousClock.Instant
        let completion: Completion
        var replies: [RedisValue] = []
    }

    /// One life of the socket. Whoever still writes for an earlier one notices by the generation and lets go.
    private struct State {
        var generation: UInt64 = 0
        var isOpen = false
        var isReady = false
        var unavailability = "not connected yet"
        var unsent: [UInt8] = []
        /// What a full socket left of the bytes before `unsent`, and how much of it was sent already.
        var rest: (bytes: [UInt8], sent: Int) = ([], 0)
        var unsentCount: Int { unsent.count + rest.bytes.count - rest.sent }
        var isWriting = false
        var waiting = FIFO<Waiting>()
        var waitingReplies = 0
        var onFull: @Sendable (UInt64) -> Void = { _ in }
    }

    private struct Socket {
        var descriptor: Int32
        var generation: UInt64
    }

    private enum Verdict {
        case refused(RedisError)
        case queued
        case mustWrite(UInt64)
    }

    private let state = Mutex(State())
    /// Held for the length of one write(2), so that the descriptor is never closed, or given out anew, under it.
    private let socket = Mutex<Socket?>(nil)
    private let maximumPending: Int
    private let maximumUnsentBytes: Int
    private let send: Send
    /// Replies waited for, or -1 while not ready: what the pool chooses by, read without the lock.
    private let publishedLoad = Atomic<Int>(-1)

    /// - Parameter send: another one for a test that counts what is moved.
    init(
        maximumPending: Int, maximumUnsentBytes: Int,
        send: @escaping Send = { Glibc.send($0, $1.baseAddress, $1.count, Int32(MSG_NOSIGNAL)) }
    ) {
        self.maximumPending = maximumPending
        self.maximumUnsentBytes = maximumUnsentBytes
        self.send = send
    }

    /// Replies waited for; nil while not ready.
    var load: Int? {
        let load = publishedLoad.load(ordering: .relaxed)
        return load < 0 ? nil : load
    }

    /// Queues one or more encoded commands and writes them if nobody else is writing.
    /// - Parameters:
    ///   - replies: how many the server will give; 0 for commands whose replies are pushes.
    ///   - asGreeting: allowed before the connection is ready.
    ///   - completion: called exactly once, here or on the connection's thread; with `replies` 0 only if refused.
    func submit(
        _ bytes: [UInt8], replies: Int, timeout: Duration, asGreeting: Bool = false, completion: @escaping Completion
    ) {
        let deadline = ContinuousClock.now + timeout
        let verdict = state.withLock { state -> Verdict in
            guard state.isOpen, state.isReady || asGreeting else { return .refused(.unavailable(state.unavailability)) }
            // A single command larger than the bound still passes an empty queue: callers bound their arguments.
            guard state.waitingReplies + replies <= maximumPending,
                state.unsentCount == 0 || state.unsentCount + bytes.count <= maximumUnsentBytes
            else { return .refused(.overloaded) }
            if replies > 0 {
                state.waiting.append(Waiting(expected: replies, deadline: deadline, completion: completion))
                state.waitingReplies += replies
                publishLoad(state)
            }
            if state.unsent.isEmpty { state.unsent = bytes } else { state.unsent += bytes }
            guard !state.isWriting else { return .queued }
            state.isWriting = true
            return .mustWrite(state.generation)
        }
        switch verdict {
        case .refused(let error): completion(.failure(error))
        case .queued: break
        case .mustWrite(let generation): write(generation)
        }
    }

    private func publishLoad(_ state: borrowing State) {
        publishedLoad.store(state.isReady ? state.waitingReplies : -1, ordering: .relaxed)
    }
}

// MARK: Writing

extension CommandQueue {
    private enum Outcome {
        case written(Int)
        case full
        case broken
    }

    /// Writes until nothing is left or the socket is full; for the one who set `isWriting`, and again for the
    /// connection's thread when a full socket has room. Does nothing for an earlier life of the connection.
    func write(_ generation: UInt64) {
        var chunk: [UInt8] = []
        var position = 0
        while true {
            if position == chunk.count {
                let next = state.withLock { state -> (bytes: [UInt8], sent: Int) in
                    guard state.generation == generation else { return ([], 0) }
                    guard state.rest.bytes.isEmpty else {
                        defer { state.rest = ([], 0) }
                        return state.rest
                    }
                    if state.unsent.isEmpty { state.isWriting = false }
                    defer { state.unsent = [] }
                    return (state.unsent, 0)
                }
                guard !next.bytes.isEmpty else { return }
                (chunk, position) = next
            }
            switch writeOnce(chunk, from: position, generation) {
            case .written(let count):
                position += count
            case .full:
                // `isWriting` stays set: nobody overtakes these bytes until the thread has found room.
                let onFull = state.withLock { state -> (@Sendable (UInt64) -> Void)? in
                    guard state.generation == generation else { return nil }
                    // Kept as it is: cutting it would copy the whole rest for each few hundred KB that the socket takes.
                    state.rest = (chunk, position)
                    return state.onFull
                }
                onFull?(generation)
                return
            case .broken:
                // The reading side learns of it as well, and closes.
                return
            }
        }
    }

    private func writeOnce(_ bytes: [UInt8], from position: Int, _ generation: UInt64) -> Outcome {
        socket.withLock { socket in
            guard let socket, socket.generation == generation else { return .broken }
            while true {
                let written = bytes.withUnsafeBytes {
                    send(socket.descriptor, UnsafeRawBufferPointer(rebasing: $0[position...]))
                }
                if written >= 0 { return .written(written) }
                if errno == EINTR { continue }
                if errno == EAGAIN || errno == EWOULDBLOCK { return .full }
                shutdown(socket.descriptor, Int32(SHUT_RDWR))
                return .broken
            }
        }
    }
}

// MARK: The connection's thread

extension CommandQueue {
    /// A socket is connected; only a greeting may be sent on it yet.
    /// - Parameter onFull: called, on any thread, when the socket takes no more; calling `write` with the same value once
    ///   there is room is its answer.
    func open(_ descriptor: Int32, onFull: @escaping @Sendable (UInt64) -> Void) {
        let generation = state.withLock { state in
            state.generation += 1
            state.isOpen = true
            state.isWriting = false
            state.onFull = onFull
            return state.generation
        }
        socket.withLock { $0 = Socket(descriptor: descriptor, generation: generation) }
    }

    func becomeReady() {
        state.withLock { state in
            state.isReady = true
            publishLoad(state)
        }
    }

    /// Takes no more commands, if none waits: then nothing is lost when the connection is closed.
    func retire(_ reason: String) -> Bool {
        state.withLock { state in
            guard state.isReady, state.waiting.first == nil, state.unsentCount == 0 else { return false }
            state.isReady = false
            state.unavailability = reason
            publishLoad(state)
            return true
        }
    }

    /// Gives a reply to the command that waits longest.
    /// - Returns: false when no command waits.
    func deliver(_ value: RedisValue) -> Bool {
        let (isExpected, finished) = state.withLock { state -> (Bool, Waiting?) in
            guard state.waiting.first != nil else { return (false, nil) }
            state.waiting.first?.replies.append(value)
            state.waitingReplies -= 1
            publishLoad(state)
            guard let first = state.waiting.first, first.replies.count == first.expected else { return (true, nil) }
            return (true, state.waiting.popFirst())
        }
        if let finished { finished.completion(.success(finished.replies)) }
        return isExpected
    }

    /// Whether the command that waits longest has waited too long.
    func isOverdue(at now: ContinuousClock.Instant) -> Bool {
        state.withLock { $0.waiting.first.map { $0.deadline < now } ?? false }
    }

    /// Fails what waits and refuses what comes. After it nobody touches the descriptor, and it may be closed.
    func close(_ reason: String, at now: ContinuousClock.Instant) {
        let failed = state.withLock { state in
            state.generation += 1
            state.isOpen = false
            state.isReady = false
            state.unavailability = reason
            (state.unsent, state.rest) = ([], ([], 0))
            state.waitingReplies = 0
            state.onFull = { _ in }
            publishLoad(state)
            return state.waiting.removeAll()
        }
        socket.withLock { $0 = nil }
        for waiting in failed { waiting.completion(.failure(waiting.deadline < now ? .timedOut : .connectionLost)) }
    }
}
