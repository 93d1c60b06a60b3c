import Synchronization

/// Tells a cancellation handler, which may run before the publish was sent, which publish it is about.
final class PublishTicket: Sendable {
    private let issued = Mutex<(generation: Int, sequence: UInt64)?>(nil)

    var value: (generation: Int, sequence: UInt64)? { issued.withLock { $0 } }

    func issue(generation: Int, sequence: UInt64) { issued.withLock { $0 = (generation, sequence) } }
}
