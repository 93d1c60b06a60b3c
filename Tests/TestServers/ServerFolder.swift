import Foundation

/// The folder of one instance, below the test process's own temporary folder.
///
/// The temporary folder has a watcher, `servers watch`, that reads from a pipe whose other end only this process holds. The
/// kernel closes that end when the process ends, by whatever way; the watcher then stops every server and removes the folder.
struct ServerFolder: Sendable {
    let path: String

    /// Runs `deploy/local/servers` with these arguments; returns what it printed.
    @discardableResult
    func run(_ arguments: [String]) async throws -> String {
        try await ServersCommand.run(arguments)
    }

    static func make(for kind: String) async throws -> ServerFolder {
        let root = try await Self.root.value
        return ServerFolder(path: "\(root)/\(kind)-\(String(UInt32.random(in: .min ... .max), radix: 16))")
    }

    private static let root = Task { () throws -> String in
        var template = Array((NSTemporaryDirectory() + "switchboard-tests.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw TestServerError(description: "no temporary folder: \(String(cString: strerror(errno)))")
        }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // PostgreSQL runs as another user when we are root, and must be able to pass through.
        guard chmod(path, 0o711) == 0 else {
            throw TestServerError(description: "chmod \(path): \(String(cString: strerror(errno)))")
        }
        try ServersCommand.startWatcher(of: path)
        return path
    }
}
