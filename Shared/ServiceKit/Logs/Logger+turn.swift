import ChatCore
import Logging

extension Logger {
    /// The same logger, whose lines name a turn, and its trace when it has one.
    public func about(_ turn: TurnID, in trace: TraceContext?) -> Logger {
        var logger = self
        logger[metadataKey: "turn"] = "\(turn)"
        if let trace { logger[metadataKey: "trace_id"] = "\(trace.trace)" }
        return logger
    }
}
