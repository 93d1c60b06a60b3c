import Foundation
import ServiceHarness
import TestServers

/// What stands in deploy/prometheus, and the program that judges it.
enum PrometheusFiles {
    static let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let folder = repository.appending(path: "deploy/prometheus")

    /// A program of Debian's package, where `deploy/local/setup` unpacked it; else whatever PATH has.
    static func program(_ name: String) -> String {
        let unpacked = repository.appending(path: ".local/prometheus/usr/bin/\(name)").path
        return FileManager.default.isExecutableFile(atPath: unpacked) ? unpacked : name
    }

    static func promtool(_ arguments: [String]) async throws -> Program.Result {
        try await Program.run(program("promtool"), arguments)
    }

    static func files(in name: String) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(at: folder.appending(path: name), includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "yml" }
            .sorted { $0.path < $1.path }
    }
}
