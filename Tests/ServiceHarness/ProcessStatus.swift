import Foundation

/// What the kernel says of a process in /proc/<pid>/status.
public struct ProcessStatus {
    private let lines: [Substring]

    /// - Returns: nil when there is no such process.
    public init?(_ pid: Int32) {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return nil }
        lines = text.split(separator: "\n")
    }

    /// A line that counts kB, as bytes.
    public func bytes(_ name: String) -> Int? { number(name).map { $0 << 10 } }

    /// The first number of a line.
    public func number(_ name: String) -> Int? {
        let line = lines.first { $0.hasPrefix(name + ":") }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
    }

    /// Processes that this one has started.
    public static func children(of parent: Int32) -> [Int32] {
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.compactMap { Int32($0) }.filter { ProcessStatus($0)?.number("PPid") == Int(parent) }
    }
}
