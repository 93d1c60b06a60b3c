import CLibpq
import Foundation
import ServiceKit

extension PostgresConnection {
    /// Opens the session and waits until it can be used.
    /// - Throws: `unavailable`, with a reason that holds no password.
    func open(
        _ parameters: [(keyword: String, value: String)], timeout: Duration
    ) async throws(DatabaseError) {
        let started = await PostgresConnection.begin(parameters)
        guard let session = started.session else {
            throw .unavailable(shard: shard, reason: "no memory for a connection")
        }
        self.session = session
        PQsetNoticeProcessor(session, { _, _ in }, nil)  // its default prints to standard error
        // The only way in which libpq tells the SQLSTATE of a session that the server refused to begin.
        PQsetErrorVerbosity(session, PQERRORS_VERBOSE)
        guard PQstatus(session) != CONNECTION_BAD else { throw giveUp(session) }
        let result = await withCheckedContinuation { continuation in
            let timer = executor.schedule(after: timeout) { [weak self] in
                self?.assumeIsolated { connection in
                    connection.endConnecting(
                        .failure(.unavailable(shard: connection.shard, reason: "no answer within \(timeout)")))
                }
            }
            connecting = Connecting(timer: timer, continuation: continuation)
            // libpq asks to be treated as if it had just said that it wants to write.
            watch(session, for: .writable)
        }
        // The session may have ended between the two: whoever uses it next finds that out.
        try result.get()
    }

    /// A PGconn on its way between threads; `@unchecked Sendable`: only one of them has it at a time.
    private struct Started: @unchecked Sendable {
        let session: OpaquePointer?
    }

    /// PQconnectStart looks a host's name up, which may block for seconds: it has a thread of Dispatch. Pools begin at
    /// most their size at a time.
    private static func begin(_ parameters: [(keyword: String, value: String)]) async -> Started {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                let keywords = parameters.map { strdup($0.keyword) }
                let values = parameters.map { strdup($0.value) }
                defer { (keywords + values).forEach { free($0) } }
                let session = PQconnectStartParams(
                    keywords.map { UnsafePointer($0) } + [nil], values.map { UnsafePointer($0) } + [nil], 0)
                continuation.resume(returning: Started(session: session))
            }
        }
    }

    func socketIsReady(_ readiness: SocketExecutor.Readiness) {
        guard connecting != nil else { return isReady(readiness) }
        guard let session else { return }
        switch PQconnectPoll(session) {
        case PGRES_POLLING_READING: watch(session, for: .readable)
        case PGRES_POLLING_WRITING: watch(session, for: .writable)
        case PGRES_POLLING_OK where PQsetnonblocking(session, 1) == 0:
            watch(session, for: .readable)
            isClean.store(true, ordering: .relaxed)
            endConnecting(.success(()))
        default: endConnecting(.failure(failure(of: session)))
        }
    }

    private func endConnecting(_ result: Result<Void, DatabaseError>) {
        guard let ended = connecting else { return }
        connecting = nil
        executor.cancel(ended.timer)
        if case .failure = result { close() }
        ended.continuation.resume(returning: result)
    }

    private func giveUp(_ session: OpaquePointer) -> DatabaseError {
        defer { close() }
        return failure(of: session)
    }

    /// Why no session came to be, in libpq's words: they name host, port, user and database, never the password.
    private func failure(of session: OpaquePointer) -> DatabaseError {
        let lines = String(cString: PQerrorMessage(session)).split(separator: "\n")
            .filter { !$0.hasPrefix("LOCATION:") }  // in the server's sources
        return .unavailable(
            shard: shard, reason: String(lines.joined(separator: "; ").prefix(300)),
            sqlState: lines.compactMap(Self.sqlState).last)
    }

    /// The code in a line of libpq's verbose messages: `…: FATAL:  28P01: password authentication failed …`. The word
    /// before it is in the server's language.
    static func sqlState(in line: some StringProtocol) -> String? {
        line.components(separatedBy: ":  ").dropFirst().lazy.compactMap { part -> String? in
            let code = part.prefix(5)
            let isCode =
                code.utf8.count == 5 && code.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) }
            return isCode && part.dropFirst(5).hasPrefix(": ") ? String(code) : nil
        }.first
    }
}
