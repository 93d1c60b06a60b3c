import Foundation

/// A server of the caller's own, to be stopped, killed, paused and restarted by a test of failures.
///
/// Port, password and data stay the same over ``restart()``.
public struct ServerHandle<Endpoint: Sendable>: Sendable {
    public let endpoint: Endpoint
    /// The path of its folder, as `deploy/local/servers` makes it.
    public var path: String { folder.path }
    private let kind: String
    private let options: [String]
    private let port: Int
    private let folder: ServerFolder

    /// Ends every process of the server with SIGKILL, as a crash would; returns when they are gone.
    public func kill() async throws {
        try await folder.run(["signal", folder.path, "KILL"])
    }

    /// Stops every process of the server with SIGSTOP: its connections stay open and say nothing.
    public func pause() async throws {
        try await folder.run(["signal", folder.path, "STOP"])
    }

    /// Lets a paused server go on.
    public func resume() async throws {
        try await folder.run(["signal", folder.path, "CONT"])
    }

    /// Starts the server again after ``kill()`` or ``stop()``, on the same port; returns when it answers. A server that still
    /// runs is stopped in order first.
    public func restart() async throws {
        try await stop()
        try await folder.run(["start", kind, folder.path, "--port", String(port)] + options)
    }

    /// Shuts the server down in order; returns when it is gone.
    public func stop() async throws {
        try await folder.run(["stop", folder.path])
    }

    /// Asks the server itself: a command of Redis word by word, statements of PostgreSQL, a command of rabbitmqctl (which
    /// takes seconds).
    /// - Returns: what it printed.
    @discardableResult
    public func ask(_ words: String...) async throws -> String { try await ask(words) }

    @discardableResult
    public func ask(_ words: [String]) async throws -> String {
        try await folder.run(["ask", folder.path] + words)
    }

    init(
        kind: String, options: [String], endpoint: (ServerSettings, ServerFolder) throws -> Endpoint
    ) async throws {
        let folder = try await ServerFolder.make(for: kind)
        let settings = ServerSettings(lines: try await folder.run(["start", kind, folder.path] + options))
        self.kind = kind
        self.options = options
        self.folder = folder
        port = try settings.integer("PORT")
        self.endpoint = try endpoint(settings, folder)
    }
}

// MARK: A small disk

extension ServerHandle {
    /// Where the server's small disk is mounted, if it has one: of Redis its data.
    public var disk: String { "\(folder.path)/\(kind == "postgres" ? "disk" : "data")" }

    /// Fills the disk of a server that was started with a small one.
    public func fillDisk() throws {
        // The parts become smaller, so that nothing of any size has room afterwards.
        guard FileManager.default.createFile(atPath: filler, contents: nil),
            let file = FileHandle(forWritingAtPath: filler)
        else { throw TestServerError(description: "cannot write to \(filler)") }
        defer { try? file.close() }
        for size in [1 << 20, 4096, 1] {
            let zeros = Data(count: size)
            while (try? file.write(contentsOf: zeros)) != nil {}
        }
    }

    public func freeDisk() throws {
        try FileManager.default.removeItem(atPath: filler)
    }

    private var filler: String { "\(disk)/filler" }
}

extension ServerHandle where Endpoint == PostgresEndpoint {
    /// Makes the living server refuse writes, in sessions that are open too, or take them again.
    public func setReadOnly(_ isReadOnly: Bool) async throws {
        let value = isReadOnly ? "on" : "off"
        try await ask("ALTER SYSTEM SET default_transaction_read_only = \(value)", "SELECT pg_reload_conf()")
        // Sessions read the new value before their next statement; a new one shows that the server has it.
        while try await ask("SHOW default_transaction_read_only") != value + "\n" { await Task.yield() }
    }
}

extension ServerHandle where Endpoint == RedisEndpoint {
    /// Kills the server and starts it again with nothing of what it kept, as after the loss of its disk.
    public func restartEmptied() async throws {
        try await kill()
        // The folder itself may be a file system of its own.
        for entry in try FileManager.default.contentsOfDirectory(atPath: disk) {
            try FileManager.default.removeItem(atPath: "\(disk)/\(entry)")
        }
        try await restart()
    }

    /// Steps the clock of a Redis that was started with one of its own.
    /// - Parameter step: how far it is off the machine's clock from now on.
    public func setClock(off step: Duration) throws {
        try ClockFile("\(folder.path)/clock").set(off: step)
    }
}
