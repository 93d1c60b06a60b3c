import Foundation
import ServiceHarness
import Synchronization

/// Forwards TCP connections between processes of this machine, and spoils them on demand. Every link has a listener and a
/// target of its own, so that one service can lose one server while all others keep it. One thread carries all links.
public final class TCPProxy: Sendable {
    public struct Link: Hashable, Sendable {
        /// Where to connect instead of the target.
        public let port: Int
        let index: Int
    }

    enum Order: Sendable {
        case open(listener: Int32, target: Int)
        case weather(Weather, link: Int)
        case cut(link: Int)
        case stop
    }

    private let orders = Mutex<(waiting: [Order], links: Int)>(([], 0))
    /// A byte written here is read at the other end by the thread, which then looks for orders.
    private let bell: Int32

    public init() throws {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw HarnessError("no descriptors left") }
        let heard = ends[0]
        bell = ends[1]
        let thread = Thread { [self] in
            var loop = ProxyLoop(bell: heard)
            while loop.turn(take()) {}
            close(heard)
            close(bell)
        }
        thread.name = "proxy"
        thread.start()
    }

    /// A new link to a port of this machine, in clear weather.
    public func link(to target: Int) throws -> Link {
        let (listener, port) = try Self.listen()
        let index = orders.withLock { orders in
            orders.waiting.append(.open(listener: listener, target: target))
            orders.links += 1
            return orders.links - 1
        }
        ring()
        return Link(port: port, index: index)
    }

    public func set(_ weather: Weather, on link: Link) { give(.weather(weather, link: link.index)) }

    /// Resets every connection of the link; new ones are welcome at once.
    public func cut(_ link: Link) { give(.cut(link: link.index)) }

    /// Closes everything and ends the thread.
    public func stop() { give(.stop) }

    private func give(_ order: Order) {
        orders.withLock { $0.waiting.append(order) }
        ring()
    }

    /// A full buffer has rung already.
    private func ring() { _ = send(bell, [1], 1, Int32(MSG_NOSIGNAL)) }

    private func take() -> [Order] {
        orders.withLock { orders in
            defer { orders.waiting = [] }
            return orders.waiting
        }
    }

    private static func listen() throws -> (descriptor: Int32, port: Int) {
        let descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError("no descriptors left") }
        var address = LoopbackAddress.of(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                guard bind(descriptor, $0, length) == 0 else { return Int32(-1) }
                return getsockname(descriptor, $0, &length)
            }
        }
        guard status == 0, Glibc.listen(descriptor, 512) == 0 else {
            close(descriptor)
            throw HarnessError("the proxy cannot listen: \(String(cString: strerror(errno)))")
        }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }
}

enum LoopbackAddress {
    static func of(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = UInt16(clamping: port).bigEndian
        return address
    }
}
