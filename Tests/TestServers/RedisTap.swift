import Foundation
import Synchronization

/// Stands between a client and a Redis, passes everything on, and counts the scripts that the client has run: what they
/// cost is one trip for all that it sends at once.
public final class RedisTap: Sendable {
    public struct Count: Sendable, Equatable {
        public var scripts = 0
        /// Pieces of what a client sent that had any scripts. Of a client with one connection that waits for each answer, its
        /// trips.
        public var trips = 0

        public init(scripts: Int = 0, trips: Int = 0) {
            self.scripts = scripts
            self.trips = trips
        }
    }

    public var port: Int { listener.port }
    private let listener: LoopbackListener
    private let server: RedisEndpoint
    private let counted = Mutex(Count())
    private let open = Mutex<[Int32]>([])
    private static let script = Data("\r\nEVALSHA\r\n".utf8)

    /// - Returns: nil when the system gives no port.
    public init?(before server: RedisEndpoint) {
        guard let listener = LoopbackListener() else { return nil }
        self.listener = listener
        self.server = server
        listener.begin { [self] in serve($0) }
    }

    /// What was counted while `body` ran.
    public func count(_ body: () async throws -> Void) async rethrows -> Count {
        let before = counted.withLock { $0 }
        try await body()
        let after = counted.withLock { $0 }
        return Count(scripts: after.scripts - before.scripts, trips: after.trips - before.trips)
    }

    public func stop() {
        listener.close()
        open.withLock { descriptors in for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) } }
    }

    private func serve(_ client: Int32) {
        guard let server = connect() else {
            _ = close(client)
            return
        }
        open.withLock { $0 += [client, server] }
        let ends = Ends(client: client, server: server)
        Thread.detachNewThread { [self] in
            pass(from: client, to: server) { [self] in note($0) }
            finish(ends)
        }
        Thread.detachNewThread { [self] in
            pass(from: server, to: client) { _ in }
            finish(ends)
        }
    }

    private final class Ends: Sendable {
        let client: Int32
        let server: Int32
        let finished = Atomic(0)

        init(client: Int32, server: Int32) {
            self.client = client
            self.server = server
        }
    }

    /// Whichever direction ends ends the other; the second one closes both, under the lock and out of the list: their
    /// numbers are others' as soon as they are closed.
    private func finish(_ ends: Ends) {
        open.withLock { descriptors in
            for descriptor in [ends.client, ends.server] { shutdown(descriptor, Int32(SHUT_RDWR)) }
            guard ends.finished.add(1, ordering: .relaxed).newValue == 2 else { return }
            descriptors.removeAll { $0 == ends.client || $0 == ends.server }
            for descriptor in [ends.client, ends.server] { _ = close(descriptor) }
        }
    }

    private func connect() -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(server.port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        if isConnected { return descriptor }
        _ = close(descriptor)
        return nil
    }

    private func pass(from source: Int32, to target: Int32, _ note: (Data) -> Void) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(source, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            note(Data(buffer[0..<count]))
            var sent = 0
            while sent < count {
                let written = buffer.withUnsafeBytes {
                    send(target, $0.baseAddress?.advanced(by: sent), count - sent, Int32(MSG_NOSIGNAL))
                }
                guard written > 0 else { return }
                sent += written
            }
        }
    }

    private func note(_ bytes: Data) {
        var (scripts, rest) = (0, bytes)
        while let found = rest.range(of: RedisTap.script) {
            scripts += 1
            rest = rest[found.upperBound...]
        }
        guard scripts > 0 else { return }
        counted.withLock { count in
            count.scripts += scripts
            count.trips += 1
        }
    }
}
