import ChatCore

/// How old the oldest message of a queue may be. Pure.
///
/// The broker does not say. But a queue keeps its order, so no message in it is older than the newest that has come out;
/// and none is older than the last moment at which the queue was seen empty. The younger of the two bounds it from above,
/// closely while the queue flows, exactly when nothing comes out any more.
struct QueueAge {
    /// Unix milliseconds, all of them.
    private var firstLook: Int64?
    private var lastEmpty: Int64?

    /// - Parameters:
    ///   - messages: that are ready in the queue.
    ///   - newestDelivered: when the newest message that has come out of it was made; nil when nobody knows.
    ///   - now: never decreases.
    /// - Returns: seconds.
    mutating func look(messages: Int, newestDelivered: Int64?, at now: Int64) -> Double {
        let firstLook = firstLook ?? now
        self.firstLook = firstLook
        guard messages > 0 else {
            lastEmpty = now
            return 0
        }
        // Whoever has just begun to look knows nothing of what came before, unless somebody says it.
        let youngest = [lastEmpty, newestDelivered].compactMap { $0 }.max() ?? firstLook
        return Double(now.milliseconds(since: youngest)) / 1000
    }
}
