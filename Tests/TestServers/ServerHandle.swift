import Foundation

/// A server of the caller's own, to be stopped, killed, paused and restarted by a test of failures.
///
/// Port, password and data stay the same over ``restart()``.
public struct ServerHandle<Endpoint: Sendable>: Sendable {
    public let endpoint: Endpoint
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

extension ServerHandle where Endpoint == RedisEndpoint {
    /// Kills the server and starts it again with nothing of what it kept, as after the loss of its disk.
    public func restartEmptied() async throws {
        try await kill()
        try? FileManager.default.removeItem(atPath: "\(folder.path)/data")
        try await restart()
    }
}
