import CLibpq
import Dispatch
import Synchronization

/// Asks a server to stop a session's statement. libpq 15 has only a blocking form of it, which opens a connection of
/// its own and reads until the server closes it: it runs on threads of Dispatch, `maximumInFlight` at most.
///
/// `@unchecked Sendable`: a PGcancel is a copy of address and key, made on the session's thread and then used by one
/// thread only.
struct CancelRequest: @unchecked Sendable {
    /// A server that is stopped, not dead, holds each of them until it goes on; beyond that many we only close the
    /// session, and the server finds out by itself.
    static let maximumInFlight = 4
    private static let inFlight = Atomic<Int>(0)
    private static let queue = DispatchQueue(label: "postgres-cancel", attributes: .concurrent)

    private let request: OpaquePointer

    /// - Parameter session: a PGconn with a statement under way.
    static func send(for session: OpaquePointer) {
        guard inFlight.add(1, ordering: .relaxed).newValue <= maximumInFlight, let request = PQgetCancel(session) else {
            inFlight.subtract(1, ordering: .relaxed)
            return
        }
        let cancel = CancelRequest(request: request)
        queue.async {
            cancel.perform()
            inFlight.subtract(1, ordering: .relaxed)
        }
    }

    private func perform() {
        var message = [CChar](repeating: 0, count: 256)
        // Whether it arrived does not matter: the session is closed in any case, and its caller has gone on.
        PQcancel(request, &message, Int32(message.count))
        PQfreeCancel(request)
    }
}
