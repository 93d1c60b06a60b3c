import Foundation

/// The body of the proxy's thread: polls all sockets, moves what may be moved. Owned by that thread alone.
struct ProxyLoop {
    private struct Link {
        let listener: Int32
        let target: Int
        var weather = Weather.clear
    }

    private struct Connection {
        let link: Int
        let client: Int32
        let server: Int32
        var up = Flow()
        var down = Flow()
        var isUpEnded = false
        var isDownEnded = false

        /// - Returns: whether both ends are still there.
        mutating func pass(at now: UInt64) -> Bool {
            ProxyLoop.write(&up, to: server, &isUpEnded, now) && ProxyLoop.write(&down, to: client, &isDownEnded, now)
        }
    }

    private let bell: Int32
    private var links: [Link] = []
    private var connections: [Connection] = []
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)

    init(bell: Int32) { self.bell = bell }

    /// Carries out orders, waits for sockets or for delayed bytes, and moves what can be moved.
    /// - Returns: false when it was told to stop.
    mutating func turn(_ orders: [TCPProxy.Order]) -> Bool {
        for order in orders where !obey(order) {
            for connection in connections { reset(connection) }
            for link in links { close(link.listener) }
            return false
        }
        var polled = [pollfd(fd: bell, events: Int16(POLLIN), revents: 0)]
        for link in links {
            polled.append(pollfd(fd: link.weather == .silent ? -1 : link.listener, events: Int16(POLLIN), revents: 0))
        }
        let now = Self.now
        for connection in connections {
            let isSilent = links[connection.link].weather == .silent
            func entry(_ descriptor: Int32, reads: Flow, writes: Flow) -> pollfd {
                let mayWrite = (writes.nextDue ?? .max) <= now
                let events = (reads.mayRead ? POLLIN : 0) | (mayWrite ? POLLOUT : 0)
                // A descriptor without interest is left out, or its hang-up would be reported without end.
                return pollfd(fd: isSilent || events == 0 ? -1 : descriptor, events: Int16(events), revents: 0)
            }
            polled.append(entry(connection.client, reads: connection.up, writes: connection.down))
            polled.append(entry(connection.server, reads: connection.down, writes: connection.up))
        }
        poll(&polled, nfds_t(polled.count), patience(from: now))
        if polled[0].revents != 0 {
            // Orders first: bytes sent after one was given must find it carried out.
            recv(bell, &buffer, buffer.count, 0)
            return true
        }
        move(polled)
        for index in links.indices where polled[1 + index].revents != 0 { accept(index) }
        return true
    }

    private mutating func obey(_ order: TCPProxy.Order) -> Bool {
        switch order {
        case .open(let listener, let target): links.append(Link(listener: listener, target: target))
        case .weather(let weather, let link):
            links[link].weather = weather
            if weather == .refusing { cut(link) }
        case .cut(let link): cut(link)
        case .stop: return false
        }
        return true
    }

    private mutating func cut(_ link: Int) {
        for connection in connections where connection.link == link { reset(connection) }
        connections.removeAll { $0.link == link }
    }

    /// Milliseconds until delayed bytes are due, rounded up; -1 without any.
    private func patience(from now: UInt64) -> Int32 {
        var next = UInt64.max
        for connection in connections where links[connection.link].weather != .silent {
            for due in [connection.up.nextDue, connection.down.nextDue] {
                if let due, due > now { next = min(next, due) }
            }
        }
        return next == .max ? -1 : Int32(clamping: (next - now + 999_999) / 1_000_000)
    }

    private mutating func move(_ polled: [pollfd]) {
        let now = Self.now
        var dead: [Int] = []
        for index in connections.indices {
            let weather = links[connections[index].link].weather
            guard weather != .silent else { continue }
            let base = 1 + links.count + 2 * index
            var isAlive = true
            if polled[base].revents & ~Int16(POLLOUT) != 0 {
                isAlive = Self.read(
                    connections[index].client, into: &connections[index].up, by: &buffer, weather, now)
            }
            if isAlive, polled[base + 1].revents & ~Int16(POLLOUT) != 0 {
                isAlive = Self.read(
                    connections[index].server, into: &connections[index].down, by: &buffer, weather, now)
            }
            isAlive =
                isAlive
                && connections[index].pass(at: now)
            if !isAlive {
                reset(connections[index])
                dead.append(index)
            } else if connections[index].isUpEnded, connections[index].isDownEnded {
                close(connections[index].client)
                close(connections[index].server)
                dead.append(index)
            }
        }
        for index in dead.reversed() { connections.remove(at: index) }
    }

    private static func read(
        _ descriptor: Int32, into flow: inout Flow, by buffer: inout [UInt8], _ weather: Weather, _ now: UInt64
    ) -> Bool {
        guard flow.mayRead else { return true }
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count > 0 {
            flow.take(Array(buffer[..<count]), at: now, weather: weather)
            return true
        }
        if count == 0 {
            flow.end()
            return true
        }
        return errno == EAGAIN || errno == EINTR
    }

    private static func write(_ flow: inout Flow, to descriptor: Int32, _ hasEnded: inout Bool, _ now: UInt64) -> Bool {
        var isAlive = true
        flow.pass(at: now) { bytes in
            let count = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0, errno != EAGAIN, errno != EINTR { isAlive = false }
            return max(0, count)
        }
        if isAlive, flow.hasEnd, flow.isEmpty, !hasEnded {
            hasEnded = true
            shutdown(descriptor, Int32(SHUT_WR))
        }
        return isAlive
    }

    private mutating func accept(_ index: Int) {
        while true {
            let client = Glibc.accept(links[index].listener, nil, nil)
            guard client >= 0 else { return }
            _ = fcntl(client, F_SETFL, O_NONBLOCK)
            _ = fcntl(client, F_SETFD, FD_CLOEXEC)
            noDelay(client)
            let server = links[index].weather == .refusing ? -1 : connect(to: links[index].target)
            let connection = Connection(link: index, client: client, server: server)
            if server < 0 { reset(connection) } else { connections.append(connection) }
        }
    }

    private func connect(to port: Int) -> Int32 {
        let descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return -1 }
        noDelay(descriptor)
        var address = LoopbackAddress.of(port: port)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 || errno == EINPROGRESS else {
            close(descriptor)
            return -1
        }
        return descriptor
    }

    private func noDelay(_ descriptor: Int32) {
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Closes so that the peers see a reset, not an end.
    private func reset(_ connection: Connection) {
        var lingering = linger(l_onoff: 1, l_linger: 0)
        for descriptor in [connection.client, connection.server] where descriptor >= 0 {
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
            close(descriptor)
        }
    }

    private static var now: UInt64 { DispatchTime.now().uptimeNanoseconds }
}
