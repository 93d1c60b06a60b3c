import TestServers

/// What the injector does to a server, whichever it is.
protocol Breakable: Sendable {
    func kill() async throws
    func pause() async throws
    func resume() async throws
    func restart() async throws
}

extension ServerHandle: Breakable {}
