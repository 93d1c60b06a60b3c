import Logging
import ServiceKit

/// One pipelined connection: the queue that callers write to and the link that reads the replies.
struct RedisConnection: Sendable {
    let link: RedisLink
    private let timeout: Duration

    init(
        configuration: RedisConfiguration, executor: SocketExecutor, logger: Logger,
        listener: @escaping @Sendable (RedisLink.Event) -> Void
    ) {
        timeout = configuration.commandTimeout
        link = RedisLink(configuration: configuration, executor: executor, logger: logger, listener: listener)
    }

    var load: Int? { link.queue.load }

    /// - Parameters:
    ///   - bytes: `replies` encoded commands.
    ///   - patience: time beyond the command time-out that the commands may take (BLOCK).
    func exchange(
        _ bytes: [UInt8], replies: Int, patience: Duration = .zero
    ) async throws(RedisError) -> [RedisValue] {
        try await ReplyWaiter<[RedisValue]>().wait { waiter in
            link.queue.submit(bytes, replies: replies, timeout: timeout + patience) { waiter.finish($0) }
        }.get()
    }
}
