import Foundation
import Synchronization
import TestServers

/// A peer that speaks the Redis protocol and says what a test tells it to.
final class ScriptedRedis: Sendable {
    /// The whole reply, as it goes over the wire.
    /// - Parameters:
    ///   - connection: its number, from 1.
    ///   - command: the command's words.
    typealias Script = @Sendable (_ connection: Int, _ command: [String]) -> String

    var port: Int { listener.port }
    private let listener: LoopbackListener
    private let accepted = Atomic(0)
    private let open = Mutex<[Int32]>([])
    private let script: Script

    init(_ script: @escaping Script) throws {
        self.script = script
        guard let listener = LoopbackListener() else { throw TestFailure("no port for a scripted Redis") }
        self.listener = listener
        listener.begin { [self] in accept($0) }
    }

    func stop() {
        listener.close()
        open.withLock { descriptors in for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) } }
    }

    private func accept(_ descriptor: Int32) {
        let number = accepted.add(1, ordering: .relaxed).newValue
        open.withLock { $0.append(descriptor) }
        Thread.detachNewThread { [self] in
            serve(descriptor, number)
            // Under the lock, and out of the list: its number is another's as soon as it is closed.
            open.withLock { descriptors in
                descriptors.removeAll { $0 == descriptor }
                _ = close(descriptor)
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
