import Foundation
import Synchronization

/// A peer that speaks the Redis protocol and says what a test tells it to.
final class ScriptedRedis: Sendable {
    /// The whole reply, as it goes over the wire.
    /// - Parameters:
    ///   - connection: its number, from 1.
    ///   - command: the command's words.
    typealias Script = @Sendable (_ connection: Int, _ command: [String]) -> String

    let port: Int
    private let listener: Int32
    private let open = Mutex<[Int32]>([])
    private let script: Script

    init(_ script: @escaping Script) throws {
        self.script = script
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(listener, raw, size) == 0 && listen(listener, 16) == 0 && getsockname(listener, raw, &size) == 0
            }
        }
        guard isBound else { throw TestFailure("no port for a scripted Redis") }
        self.listener = listener
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in accept() }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        open.withLock { descriptors in for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) } }
    }

    private func accept() {
        var number = 0
        while true {
            let descriptor = Foundation.accept(listener, nil, nil)
            guard descriptor >= 0 else { return }
            number += 1
            open.withLock { $0.append(descriptor) }
            Thread.detachNewThread { [self, number] in
                serve(descriptor, number)
                // Under the lock, and out of the list: its number is another's as soon as it is closed.
                open.withLock { descriptors in
                    descriptors.removeAll { $0 == descriptor }
                    _ = close(descriptor)
                }
            }
        }
    }

    /// Commands come as arrays of bulk strings of text.
    private func serve(_ descriptor: Int32, _ number: Int) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var lines: [String] = []
        var rest = ""
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            rest += String(decoding: buffer[0..<count], as: UTF8.self)
            var parts = rest.components(separatedBy: "\r\n")
            rest = parts.removeLast()
            lines += parts
            while let header = lines.first, let words = Int(header.dropFirst()), lines.count > 2 * words {
                let command = (0..<words).map { lines[2 + 2 * $0] }
                lines.removeFirst(1 + 2 * words)
                let reply = Array(script(number, command).utf8)
                guard send(descriptor, reply, reply.count, Int32(MSG_NOSIGNAL)) == reply.count else { return }
            }
        }
    }
}
