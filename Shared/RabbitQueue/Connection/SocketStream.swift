import Foundation
import ServiceKit

/// A TCP stream that never blocks its thread: what the kernel does not take waits in a bounded buffer.
///
/// Not librabbitmq's own socket: that one blocks in every write while the broker pushes back (a memory alarm can last
/// hours) and in every synchronous method, and its heartbeats go out only inside its calls.
///
/// Confined to its executor's thread.
final class SocketStream {
    private let executor: SocketExecutor
    private let maximumUnsentBytes: Int
    private var descriptor: Int32
    private var unsent: [UInt8] = []
    /// How much of `unsent` the kernel has; it is cut off in large pieces only.
    private var sentCount = 0
    private var received = [UInt8](repeating: 0, count: 64 << 10)
    private var onBytes: (UnsafeRawBufferPointer) -> Void = { _ in }
    private var onEnd: (RabbitError) -> Void = { _ in }

    private init(descriptor: Int32, executor: SocketExecutor, maximumUnsentBytes: Int) {
        self.descriptor = descriptor
        self.executor = executor
        self.maximumUnsentBytes = maximumUnsentBytes
    }

    /// Tries the host's addresses one after the other, each for at most `timeout`.
    ///
    /// Resolving a name blocks, and so stands on the executor's thread: nothing else of it is alive while it connects.
    static func connect(
        host: String, port: Int, timeout: Duration, maximumUnsentBytes: Int, executor: SocketExecutor,
        isolation: isolated (any Actor)? = #isolation
    ) async throws(RabbitError) -> SocketStream {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0 else { throw .unavailable }
        defer { freeaddrinfo(list) }
        var next = list
        while let address = next?.pointee {
            next = address.ai_next
            let descriptor = socket(address.ai_family, Int32(SOCK_STREAM.rawValue), 0)
            guard descriptor >= 0 else { continue }
            let stream = SocketStream(
                descriptor: descriptor, executor: executor, maximumUnsentBytes: maximumUnsentBytes)
            if await stream.connect(to: address, timeout: timeout) { return stream }
            stream.close()
        }
        throw .unavailable
    }

    private func connect(
        to address: addrinfo, timeout: Duration, isolation: isolated (any Actor)? = #isolation
    ) async -> Bool {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        var on: Int32 = 1
        // A publish from an idle connection must leave at once, not wait for the last one's TCP acknowledgement.
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        if Foundation.connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return true }
        guard errno == EINPROGRESS else { return false }
        let isDecided = await withCheckedContinuation(isolation: isolation) { continuation in
            let timer = executor.schedule(after: timeout) { [executor, descriptor] in
                executor.unwatch(descriptor)
                continuation.resume(returning: false)
            }
            executor.watch(descriptor, for: .writable) { [executor, descriptor] _ in
                executor.unwatch(descriptor)
                executor.cancel(timer)
                continuation.resume(returning: true)
            }
        }
        guard isDecided else { return false }
        var failure: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0
    }

    /// Begins to read. After `onEnd`, which comes once, nothing more is called.
    func start(onBytes: @escaping (UnsafeRawBufferPointer) -> Void, onEnd: @escaping (RabbitError) -> Void) {
        self.onBytes = onBytes
        self.onEnd = onEnd
        watch()
    }

    /// Bytes that the kernel has not taken yet.
    var unsentCount: Int { unsent.count - sentCount }

    func hasRoom(for count: Int) -> Bool { unsentCount + count <= maximumUnsentBytes }

    /// Writes at once what the kernel takes; the rest follows when it can.
    func write(_ bytes: [UInt8]) {
        guard descriptor >= 0 else { return }
        guard unsentCount == 0 else {
            unsent.append(contentsOf: bytes)
            return
        }
        let taken = bytes.withUnsafeBytes(send)
        guard taken >= 0 else { return }
        if taken < bytes.count {
            unsent.append(contentsOf: bytes[taken...])
            watch()
        }
    }

    func close() {
        guard descriptor >= 0 else { return }
        executor.unwatch(descriptor)
        Foundation.close(descriptor)
        descriptor = -1
        unsent = []
        sentCount = 0
        onBytes = { _ in }
        onEnd = { _ in }
    }

    private func watch() {
        executor.watch(descriptor, for: unsentCount == 0 ? .readable : [.readable, .writable]) { [weak self] ready in
            guard let self else { return }
            if ready.contains(.writable) { flush() }
            if !ready.isDisjoint(with: [.readable, .closed]) { read() }
        }
    }

    private func flush() {
        guard descriptor >= 0 else { return }
        let taken = unsent.withUnsafeBytes { send(UnsafeRawBufferPointer(rebasing: $0[sentCount...])) }
        guard taken > 0 else { return }
        sentCount += taken
        if unsentCount == 0 {
            unsent.removeAll(keepingCapacity: unsent.capacity <= 1 << 20)
            sentCount = 0
            watch()
        } else if sentCount >= 1 << 20 {
            unsent.removeFirst(sentCount)
            sentCount = 0
        }
    }

    /// How much the kernel took; -1 after the stream ended over it.
    private func send(_ bytes: UnsafeRawBufferPointer) -> Int {
        let taken = Foundation.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        if taken >= 0 { return taken }
        if errno == EAGAIN || errno == EINTR { return 0 }
        // The reading side tells the end, after what the broker may have said before it hung up.
        return -1
    }

    /// One read for each readiness, so that a broker that never stops sending cannot keep jobs and timers waiting.
    private func read() {
        guard descriptor >= 0 else { return }
        let count = received.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
        if count > 0 {
            received.withUnsafeBytes { onBytes(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
            let end = onEnd
            close()
            end(.connectionLost)
        }
    }
}
