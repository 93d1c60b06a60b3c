import Dispatch
import Foundation

/// Runs the shell script `deploy/local/servers`. Spawning and waiting block, so each run has a thread of a queue of its own, and
/// none of Swift's cooperative pool.
enum ServersCommand {
    /// - Returns: the script's standard output.
    /// - Throws: ``TestServerError`` with the script's standard error when it fails. The script itself bounds every wait.
    static func run(_ arguments: [String]) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            queue.async {
                continuation.resume(with: Result { try runBlocking(arguments) })
            }
        }
    }

    /// Starts `servers watch` in a session of its own, so that a Ctrl-C meant for the tests does not end it first.
    static func startWatcher(of folder: String) throws {
        let pipe = try Self.pipe()
        // The writing end is never closed by us: that it closes with the process is its purpose.
        defer { close(pipe.read) }
        _ = try ChildProcess.spawn(["setsid", script, "watch", folder], input: pipe.read, output: nil)
    }

    private static let queue = DispatchQueue(label: "test-servers", attributes: .concurrent)

    private static let script = TestServers.repository + "/deploy/local/servers"

    private static func runBlocking(_ arguments: [String]) throws -> String {
        let output = try pipe()
        defer { close(output.read) }
        let process: pid_t
        do {
            defer { close(output.write) }
            process = try ChildProcess.spawn([script] + arguments, input: nil, output: output.write)
        }
        // The servers themselves write to their logs, so the pipe ends with the script.
        let text = try readToEnd(of: output.read)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else {
                throw TestServerError(description: "waitpid: \(String(cString: strerror(errno)))")
            }
        }
        guard status == 0 else {
            throw TestServerError(description: "servers \(arguments.joined(separator: " ")): \(text)")
        }
        return text
    }

    private static func readToEnd(of descriptor: Int32) throws -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            if count > 0 {
                bytes += buffer[..<count]
            } else if errno != EINTR {
                throw TestServerError(description: "read: \(String(cString: strerror(errno)))")
            }
        }
    }

    /// A pipe that no child inherits by accident: a child that held the watcher's pipe would keep the servers alive. Glibc's
    /// module has no pipe2, and fcntl after pipe leaves a moment in which another thread may spawn; a pair of sockets does it.
    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            throw TestServerError(description: "socketpair: \(String(cString: strerror(errno)))")
        }
        return (ends[0], ends[1])
    }
}
