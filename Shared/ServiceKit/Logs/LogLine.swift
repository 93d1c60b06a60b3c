import Foundation
import Logging
import Synchronization

/// A log handler that writes one structured line an event to standard error: text on a terminal, JSON otherwise.
struct LineLogHandler: LogHandler {
    let label: String
    let writer: LogWriter
    let isJSON: Bool
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let own = event.metadata { all.merge(own) { _, new in new } }
        let fields = all.sorted { $0.key < $1.key }
        writer.write(isJSON ? json(event, fields) : text(event, fields))
    }

    private func json(_ event: LogEvent, _ fields: [(key: String, value: Logger.MetadataValue)]) -> String {
        var line = "{\"time\":\"\(Timestamp.now())\",\"level\":\"\(event.level)\",\"service\":"
        JSONText.append(label, to: &line)
        line += ",\"message\":"
        JSONText.append("\(event.message)", to: &line)
        for (key, value) in fields {
            line += ","
            JSONText.append(key, to: &line)
            line += ":"
            JSONText.append("\(value)", to: &line)
        }
        return line + "}\n"
    }

    private func text(_ event: LogEvent, _ fields: [(key: String, value: Logger.MetadataValue)]) -> String {
        var line = "\(Timestamp.now()) \(event.level) \(label): \(event.message)"
        for (key, value) in fields {
            line += " \(key)="
            // Quoted as JSON, so that a value from outside can neither break the line nor colour the terminal.
            JSONText.append("\(value)", to: &line)
        }
        return line + "\n"
    }
}

/// Takes lines from any thread and writes them from one of its own, so that a slow terminal or a full pipe never stops
/// the service. At most `capacity` lines wait; what does not fit is counted and said.
final class LogWriter: Sendable {
    private struct Waiting {
        var lines: [String] = []
        var dropped = 0
        var isWriting = false
    }

    private let waiting = Mutex(Waiting())
    private let queue = DispatchQueue(label: "log")
    private let capacity: Int
    private let descriptor: Int32

    init(descriptor: Int32 = STDERR_FILENO, capacity: Int = 8192) {
        self.descriptor = descriptor
        self.capacity = capacity
    }

    func write(_ line: String) {
        let mustStart = waiting.withLock { state in
            guard state.lines.count < capacity else {
                state.dropped += 1
                return false
            }
            state.lines.append(line)
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if mustStart { queue.async { self.drain() } }
    }

    /// Returns when everything written so far is out; called before the process ends.
    func flush() { queue.sync { drain() } }

    private func drain() {
        while true {
            let (lines, dropped) = waiting.withLock { state in
                defer { state.lines.removeAll(keepingCapacity: true); state.dropped = 0 }
                if state.lines.isEmpty { state.isWriting = false }
                return (state.lines, state.dropped)
            }
            guard !lines.isEmpty else { return }
            var bytes = Array(lines.joined().utf8)
            if dropped > 0 { bytes += Array("\(dropped) log lines were dropped: the reader is too slow\n".utf8) }
            var rest = bytes[...]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
                guard written > 0 else { break }  // nobody reads: the lines are lost, the service is not
                rest = rest.dropFirst(written)
            }
        }
    }
}

/// Strings as JSON writes them (RFC 8259, section 7).
public enum JSONText {
    public static func append(_ text: String, to line: inout String) {
        line += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": line += "\\\""
            case "\\": line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                line += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: line.unicodeScalars.append(scalar)
            }
        }
        line += "\""
    }
}

/// RFC 3339 in UTC with milliseconds.
enum Timestamp {
    static func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var seconds = time.tv_sec
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let milliseconds = String(1000 + time.tv_nsec / 1_000_000).dropFirst()
        return "\(1900 + parts.tm_year)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T"
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(milliseconds)Z"
    }
}
