import ServiceKit

extension ConnectionOwner {
    /// Declares queues in their order. One that exists with earlier bounds is given the present ones when nobody uses it
    /// (`QueueUpgrade`), else it is used as it is.
    ///
    /// Whoever comes while another process does that waits for its end: what the queues held is to stand before what is
    /// published now.
    func declare(_ queues: [QueueDeclaration], on connection: Connection) async throws(RabbitError) {
        var outdated: [QueueDeclaration] = []
        for queue in queues {
            do throws(RabbitError) {
                _ = try await connection.declare(queue)
            } catch {
                guard error.isEarlierBound else {
                    link.logger.error(
                        "a queue cannot be declared as it must be",
                        metadata: ["queue": "\(queue.name)", "error": "\(error)"])
                    throw error
                }
                outdated.append(queue)
                try await connection.openChannel()
            }
        }
        // Exclusive queues live no longer than their connection: there are no earlier ones.
        guard queues.contains(where: \.durable) else { return }
        if outdated.isEmpty {
            let moving = try await connection.declare(QueueUpgrade.movingQueue)
            guard moving.messages > 0 || moving.consumers > 0 else { return }
        }
        let upgrade = QueueUpgrade(outdated, configuration: link.configuration, logger: link.logger) { [link] in
            !link.isClosing && !link.isPaused
        }
        try await upgrade.run()
    }
}

extension RabbitError {
    /// Whether a declaration was refused for what an earlier version of this platform, or other settings, declared
    /// otherwise. The broker names the first argument that differs, between single quotes.
    var isEarlierBound: Bool {
        guard case .server(code: 406, let text) = self else { return false }
        return ["x-max-length", "x-max-length-bytes", "x-delivery-limit"].contains {
            text.contains("inequivalent arg '\($0)' for queue")
        }
    }
}
