import ServiceLifecycle

/// The HTTP servers and their drain: one that is asked to stop accepts nothing any more, and its open requests are waited
/// for; beside it the relay sees to it that these come to an end.
struct DrainingServer: Service {
    /// One for each address.
    let servers: [any Service]
    let connections: OpenConnections
    let relay: TurnRelay
    let grace: Duration

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for server in servers { group.addTask { try await server.run() } }
                    try await group.waitForAll()
                }
                await connections.untilNone()
            }
            group.addTask {
                try? await gracefulShutdown()
                if !Task.isCancelled { await relay.drain(grace: grace) }
                // The group ends with the last connection.
                while (try? await Task.sleep(for: .seconds(3600))) != nil {}
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
