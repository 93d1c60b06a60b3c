import Foundation
import ServiceKit

/// The cluster that `make up` started, as deploy/local/cluster leaves word of it in the folder of its state.
struct LocalCluster {
    let state: URL

    /// The URL of its gateway; nil when no such cluster runs: what an earlier one has left behind is somebody else's port now.
    var gateway: String? {
        guard isRunning, let environment = read("cluster.env") else { return nil }
        let name = "GATEWAY_PORT="
        guard let line = environment.split(separator: "\n").last(where: { $0.hasPrefix(name) }),
            let port = UInt16(line.dropFirst(name.count)), port > 0
        else { return nil }
        return "http://127.0.0.1:\(port)"
    }

    /// Whether the process that keeps the services running is there: the one with its pid that also began when it did.
    private var isRunning: Bool {
        guard let record = read("cluster/supervisor.pid") else { return false }
        let fields = record.split(whereSeparator: \.isWhitespace)
        guard fields.count == 2, let pid = Int32(fields[0]), let start = ProcessStart.ticks(of: pid) else {
            return false
        }
        return String(start) == fields[1]
    }

    private func read(_ name: String) -> String? {
        try? String(contentsOf: state.appending(path: name), encoding: .utf8)
    }
}
