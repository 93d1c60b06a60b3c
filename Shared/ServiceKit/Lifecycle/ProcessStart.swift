import Foundation

/// When a process began, which with its pid names it for ever.
public enum ProcessStart {
    /// Clock ticks since the machine's own start, field 22 of /proc/PID/stat; nil when there is no such process. The name,
    /// field 2, may hold blanks and brackets.
    public static func ticks(of pid: Int32) -> UInt64? {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let bracket = stat.lastIndex(of: ")")
        else { return nil }
        let fields = stat[bracket...].split(separator: " ").dropFirst()
        return fields.count > 19 ? UInt64(fields[fields.startIndex + 19]) : nil
    }
}
