import Dispatch
import Foundation
import Logging
import Synchronization

/// Hears SIGTERM and SIGINT: the first asks for a drain, the second ends the process at once, with the status that a
/// shell reports for it (128 + signal).
///
/// The second is acted on from here and not by the service group, so that a process that hangs in its drain goes too.
final class StopSignals {
    private let sources: [any DispatchSourceSignal]

    /// - Parameter drain: called once, at the first signal.
    init(logger: Logger, writer: LogWriter, drain: @escaping @Sendable () -> Void) {
        let queue = DispatchQueue(label: "signals")
        let count = Count()
        sources = [SIGTERM, SIGINT].map { number in
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                guard count.value.add(1, ordering: .relaxed).newValue > 1 else { return drain() }
                logger.notice("stopped at once, by the second signal")
                writer.flush()
                _exit(128 + number)
            }
            source.resume()
            return source
        }
    }

    private final class Count: Sendable {
        let value = Atomic<Int>(0)
    }

    func cancel() { sources.forEach { $0.cancel() } }
}
