import Foundation
import Metrics

/// What the kernel says of this process, asked when the metrics are read.
enum ProcessMeasures {
    /// - Parameter service: the program's name.
    static func register(service: String, in registry: MetricRegistry) {
        registry.observe(Measures.residentMemory) { Double(residentPages) * Double(sysconf(Int32(_SC_PAGESIZE))) }
        registry.observe(Measures.cpuSeconds) { cpuSeconds }
        registry.observe(Measures.openDescriptors) { Double(openDescriptors) }
        registry.observe(Measures.maximumDescriptors) { Double(maximumDescriptors) }
        let start = startTime
        registry.observe(Measures.startTime) { start }
        registry.observe(Measures.buildInfo, service, ServiceMain.version) { 1 }
    }

    /// The second field of /proc/self/statm.
    private static var residentPages: Int {
        let fields = text("/proc/self/statm").split(separator: " ")
        return fields.count > 1 ? Int(fields[1]) ?? 0 : 0
    }

    private static var cpuSeconds: Double {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }

    /// Newer kernels tell the number as the folder's size; on others the entries are counted.
    private static var openDescriptors: Int {
        var status = stat()
        if stat("/proc/self/fd", &status) == 0, status.st_size > 0 { return Int(status.st_size) }
        return (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
    }

    private static var maximumDescriptors: UInt {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 ? UInt(limit.rlim_cur) : 0
    }

    private static var startTime: Double {
        let uptime = text("/proc/uptime").split(separator: " ").first.flatMap { Double($0) }
        guard let ticks = ProcessStart.ticks(of: getpid()), let uptime else { return Date().timeIntervalSince1970 }
        return Date().timeIntervalSince1970 - uptime + Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }
}
