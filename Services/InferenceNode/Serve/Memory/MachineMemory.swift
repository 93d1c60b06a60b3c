import Foundation

/// What this process may use of the machine's memory, as Linux says it. Sizes are in bytes; what cannot be read is nil.
struct MachineMemory {
    /// A limit on the memory of a group of processes that this one is in, and what the group uses besides file caches.
    struct Group: Equatable {
        let limit: Int
        let used: Int
    }

    /// The smallest limit on the way from this process' cgroup to the root, of either version; nil without any.
    let group: Group?
    let total: Int?
    /// What programs could have without swapping.
    let available: Int?
    /// Other inference nodes on this machine, as far as this process can see them.
    let otherNodes: Int

    /// - Parameters:
    ///   - root: where `/proc` and `/sys` lie; another folder in tests.
    ///   - process: this process' id.
    init(root: String = "", process: Int32 = ProcessInfo.processInfo.processIdentifier) {
        let files = Files(root: root)
        group = files.group()
        total = files.memory("MemTotal")
        available = files.memory("MemAvailable")
        otherNodes = files.processes(named: "inference-node").count { $0 != process }
    }

    init(group: Group?, total: Int?, available: Int?, otherNodes: Int) {
        self.group = group
        self.total = total
        self.available = available
        self.otherNodes = otherNodes
    }

    /// Whether files of the folder lie in memory, by the innermost mount that it is in.
    static func holdsFiles(ofFolder path: String, root: String = "") -> Bool {
        let folder = URL(filePath: path).standardizedFileURL.path + "/"
        var innermost: (length: Int, type: Substring) = (0, "")
        for line in (Files(root: root).text("/proc/mounts") ?? "").split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 2 else { continue }
            let place = fields[1] == "/" ? "/" : fields[1] + "/"
            // Of two mounts at one place the later one is seen.
            if folder.hasPrefix(place), place.utf8.count >= innermost.length {
                innermost = (place.utf8.count, fields[2])
            }
        }
        return ["tmpfs", "ramfs"].contains(innermost.type)
    }
}

private struct Files {
    let root: String

    func text(_ path: String) -> String? {
        guard let file = FileHandle(forReadingAtPath: root + path) else { return nil }
        defer { try? file.close() }
        // Such files say that they are empty, so that they are read to their end.
        guard let data = try? file.read(upToCount: 1 << 20) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }

    /// A line `name: number kB` of /proc/meminfo.
    func memory(_ name: String) -> Int? {
        guard let line = text("/proc/meminfo")?.split(separator: "\n").first(where: { $0.hasPrefix(name + ":") }),
            let number = line.split(separator: " ").dropFirst().first, let kibibytes = Int(number)
        else { return nil }
        let (bytes, overflow) = kibibytes.multipliedReportingOverflow(by: 1024)
        return overflow || bytes < 0 ? nil : bytes
    }

    func processes(named name: String) -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root + "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { id in
            text("/proc/\(id)/comm")?.split(separator: "\n").first.map { $0 == name } ?? false
        }
    }

    func group() -> MachineMemory.Group? {
        var groups: [MachineMemory.Group] = []
        for line in (text("/proc/self/cgroup") ?? "").split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            if fields[0] == "0", fields[1].isEmpty {
                groups += limits(
                    "/sys/fs/cgroup", fields[2], limit: "memory.max", used: "memory.current",
                    cached: ["inactive_file", "active_file"])
            } else if fields[1].split(separator: ",").contains("memory") {
                groups += limits(
                    "/sys/fs/cgroup/memory", fields[2], limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes",
                    cached: ["total_inactive_file", "total_active_file"])
            }
        }
        return groups.min { $0.limit < $1.limit }
    }

    /// The limits of a group and of those above it. In a container the group's path may be the host's, of which only the top
    /// is there: it is the container's own.
    private func limits(
        _ mount: String, _ path: Substring, limit: String, used: String, cached: [String]
    ) -> [MachineMemory.Group] {
        var names = path.split(separator: "/").filter { $0 != ".." }
        var groups: [MachineMemory.Group] = []
        while true {
            let folder = ([mount] + names.map(String.init)).joined(separator: "/")
            if let bytes = number("\(folder)/\(limit)") {
                let statistics = text("\(folder)/memory.stat") ?? ""
                let caches = cached.reduce(0) { sum, name in
                    let (result, overflow) = sum.addingReportingOverflow(value(of: name, in: statistics))
                    return overflow ? .max : result
                }
                groups.append(.init(limit: bytes, used: max(0, (number("\(folder)/\(used)") ?? 0) - caches)))
            }
            guard !names.isEmpty else { return groups }
            names.removeLast()
        }
    }

    /// A number of bytes; nil for `max`, and for more than any machine has.
    private func number(_ path: String) -> Int? {
        guard let word = text(path)?.split(whereSeparator: \.isWhitespace).first, let bytes = Int(word), bytes >= 0,
            bytes < 1 << 60
        else { return nil }
        return bytes
    }

    private func value(of name: String, in statistics: String) -> Int {
        let line = statistics.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return max(0, line?.split(separator: " ").last.flatMap { Int($0) } ?? 0)
    }
}
