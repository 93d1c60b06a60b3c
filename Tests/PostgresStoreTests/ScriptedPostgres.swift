import Foundation
import Synchronization
import TestServers

/// A peer that speaks PostgreSQL's protocol (version 3) and refuses what a test tells it to: every statement succeeds
/// without rows, else it is refused.
final class ScriptedPostgres: Sendable {
    enum Moment: Equatable { case entry, statement }

    /// What it refuses with, as of now.
    struct Refusal {
        let moment: Moment
        let sqlState: String
        /// Ends the session.
        var isFatal = false
    }

    private let listener: LoopbackListener
    private let refusal: Mutex<Refusal?>
    private let open = Mutex<[Int32]>([])

    var uri: String { "postgresql://app:secret@127.0.0.1:\(listener.port)/shard" }

    init(_ refusal: Refusal? = nil) throws {
        guard let listener = LoopbackListener() else { throw POSIXError(.EADDRNOTAVAIL) }
        self.listener = listener
        self.refusal = Mutex(refusal)
        listener.begin { [self] in accept($0) }
    }

    func refuse(_ refusal: Refusal?) { self.refusal.withLock { $0 = refusal } }

    func stop() {
        listener.close()
        open.withLock { descriptors in for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) } }
    }

    private func accept(_ descriptor: Int32) {
        open.withLock { $0.append(descriptor) }
        Thread.detachNewThread { [self] in
            serve(Peer(descriptor: descriptor))
            // Under the lock, and out of the list: its number is another's as soon as it is closed.
            open.withLock { descriptors in
                descriptors.removeAll { $0 == descriptor }
                _ = close(descriptor)
            }
        }
    }

    private func refusal(of moment: Moment) -> Refusal? {
        refusal.withLock { $0?.moment == moment ? $0 : nil }
    }

    private func serve(_ peer: Peer) {
        // No TLS, no GSSAPI: asked for first.
        while true {
            guard let body = peer.read(headed: false) else { return }
            guard body.starts(with: [0, 3]) else {
                guard peer.send(raw: Array("N".utf8)) else { return }
                continue
            }
            break
        }
        if let refusal = refusal(of: .entry) {
            _ = peer.send("E", Self.error(refusal, severity: "FATAL"))
            return
        }
        guard peer.send("R", [0, 0, 0, 0]), peer.send("Z", Array("I".utf8)) else { return }
        var isSkipping = false
        while let body = peer.read(headed: true), let kind = body.first {
            var isSent = true
            switch Character(.init(kind)) {
            case "S":
                isSkipping = false
                isSent = peer.send("Z", Array("I".utf8))
            case "X": return
            case _ where isSkipping: break
            case "P": isSent = peer.send("1", [])
            case "B": isSent = peer.send("2", [])
            case "D": isSent = peer.send("n", [])
            case "E":
                guard let refusal = refusal(of: .statement) else {
                    isSent = peer.send("C", Array("INSERT 0 1".utf8) + [0])
                    break
                }
                isSent = peer.send("E", Self.error(refusal, severity: refusal.isFatal ? "FATAL" : "ERROR"))
                if refusal.isFatal { return peer.end() }
                isSkipping = true
            default: return
            }
            guard isSent else { return }
        }
    }

    private static func error(_ refusal: Refusal, severity: String) -> [UInt8] {
        let fields = [("S", severity), ("V", severity), ("C", refusal.sqlState), ("M", "as the test says")]
        return fields.flatMap { Array(($0 + $1).utf8) + [0] } + [0]
    }
}

/// Messages to and from a client on a blocking socket.
private struct Peer {
    let descriptor: Int32

    /// - Parameter headed: whether a byte before the length says the message's kind; it is the first of what is returned.
    func read(headed: Bool) -> [UInt8]? {
        guard let header = take(headed ? 5 : 4) else { return nil }
        let length = header.suffix(4).reduce(0) { $0 << 8 | Int($1) }
        guard (4...1 << 20).contains(length), let body = take(length - 4) else { return nil }
        return header.prefix(headed ? 1 : 0) + body
    }

    private func take(_ count: Int) -> [UInt8]? {
        guard count > 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: count)
        return recv(descriptor, &bytes, count, Int32(MSG_WAITALL)) == count ? bytes : nil
    }

    /// Ends the session as a server does, which has read all that came: a socket that is closed with something unread resets the
    /// connection, and the last word may be lost.
    func end() {
        shutdown(descriptor, Int32(SHUT_WR))
        while take(1) != nil {}
    }

    func send(_ kind: Character, _ body: [UInt8]) -> Bool {
        let length = withUnsafeBytes(of: UInt32(body.count + 4).bigEndian) { Array($0) }
        return send(raw: Array(String(kind).utf8) + length + body)
    }

    func send(raw bytes: [UInt8]) -> Bool {
        Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }
}
