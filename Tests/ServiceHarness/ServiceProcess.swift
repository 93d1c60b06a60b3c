import Dispatch
import Foundation
import Synchronization
import TestServers

/// One of our executables as a real process, with its log in a file. It ends with the test process, however that ends.
public final class ServiceProcess: Sendable {
    public let name: String
    public let pid: pid_t
    public let logPath: String
    /// Closing it lets the watchdog kill the process; held for as long as the process is wanted.
    private let leash: Mutex<Int32>

    /// - Parameter environment: all that the process gets.
    public init(_ name: String, arguments: [String] = [], environment: [String: String], logPath: String) throws {
        self.name = name
        self.logPath = logPath
        let log = open(logPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else { throw HarnessError("\(logPath) cannot be written") }
        defer { close(log) }
        pid = try ChildProcess.spawn(
            [Executable.path(name)] + arguments, environment: environment, input: nil, output: log)
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw HarnessError("no descriptors left")
        }
        defer { close(ends[0]) }
        leash = Mutex(ends[1])
        _ = try ChildProcess.spawn(
            ["setsid", "sh", "-c", "cat; kill -9 \(pid)"], environment: ["PATH": "/usr/bin:/bin"], input: ends[0],
            output: nil)
    }

    deinit { end(SIGKILL) }

    /// Settings that let any number of services run beside each other.
    public static let freeOperatorPorts = [
        "GATEWAY_OPERATOR_PORT": "0", "ORCHESTRATOR_OPERATOR_PORT": "0", "WORKER_OPERATOR_PORT": "0",
        "NODE_OPERATOR_PORT": "0",
    ]

    /// The port that the process took for its operator, as its log says; nil before that.
    public var operatorPort: Int? {
        let line = log.split(separator: "\n").last { $0.contains("the operator's port is open") }
        return line?.firstMatch(of: /"?port"?[=:]"?(\d+)/).flatMap { Int($0.output.1) }
    }

    public var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }

    /// Resident memory in bytes.
    public var residentBytes: Int { ProcessStatus(pid)?.bytes("VmRSS") ?? 0 }

    /// The most that it has been so far.
    public var peakResidentBytes: Int { ProcessStatus(pid)?.bytes("VmHWM") ?? 0 }

    public func signal(_ number: Int32) {
        // A pid that was reaped may be a stranger's by now.
        leash.withLock { if $0 >= 0 { kill(pid, number) } }
    }

    /// Sends a signal and waits for the process to be gone.
    /// - Returns: its exit status, or nil when the signal killed it.
    @discardableResult
    public func end(_ number: Int32 = SIGTERM) -> Int32? {
        let wasRunning = leash.withLock { leash in
            guard leash >= 0 else { return false }
            kill(pid, number)
            return true
        }
        guard wasRunning else { return nil }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        leash.withLock { leash in
            close(leash)
            leash = -1
        }
        return status & 0x7F == 0 ? status >> 8 & 0xFF : nil
    }

    public enum Ending: Sendable, Equatable {
        case exited(Int32)
        case killed(signal: Int32)
    }

    /// How the process ended, once it has and nobody has asked before; nil until then. Does not wait.
    public func reap() -> Ending? {
        leash.withLock { leash in
            var status: Int32 = 0
            guard leash >= 0, waitpid(pid, &status, WNOHANG) == pid else { return nil }
            close(leash)
            leash = -1
            return status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .killed(signal: status & 0x7F)
        }
    }

    /// ``end(_:)`` off the cooperative pool.
    public func ended(by number: Int32 = SIGTERM) async -> Int32? {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: self.end(number)) }
        }
    }
}

public struct HarnessError: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Our built executables.
public enum Executable {
    /// They stand beside the test bundle. A path from the root is one already.
    public static func path(_ name: String) -> String {
        if name.hasPrefix("/") { return name }
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(name).path
    }

    /// Runs a program to its end and returns what it printed.
    /// - Parameter input: a file for its standard input.
    public static func output(
        _ name: String, _ arguments: [String], environment: [String: String], input: String? = nil
    ) async throws -> String {
        let result = try await Program.run(path(name), arguments, environment: environment, input: input)
        guard result.status == 0 else {
            throw HarnessError("\(name) \(arguments.joined(separator: " ")) failed: \(result.text)")
        }
        return result.text
    }
}

/// Any program, run to its end.
public enum Program {
    public struct Result: Sendable {
        /// Its exit status; nil when a signal ended it.
        public let status: Int32?
        /// Standard output and error, as they came, without the blanks around them.
        public let text: String
    }

    /// - Parameters:
    ///   - path: found by PATH when it has no slash.
    ///   - environment: all that the program gets; nil passes on this process' own.
    ///   - input: a file for its standard input.
    public static func run(
        _ path: String, _ arguments: [String], environment: [String: String]? = nil, input: String? = nil
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Swift.Result { try runBlocking(path, arguments, environment, input) })
            }
        }
    }

    private static func runBlocking(
        _ path: String, _ arguments: [String], _ environment: [String: String]?, _ input: String?
    ) throws -> Result {
        let file = input.map { open($0, O_RDONLY | O_CLOEXEC) }
        defer { if let file { close(file) } }
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw HarnessError("no descriptors left")
        }
        defer { close(ends[0]) }
        let process: pid_t
        do {
            defer { close(ends[1]) }
            process = try ChildProcess.spawn(
                [path] + arguments, environment: environment, input: file, output: ends[1])
        }
        let text = String(
            decoding: FileHandle(fileDescriptor: ends[0], closeOnDealloc: false).readDataToEndOfFile(), as: UTF8.self)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        return Result(
            status: status & 0x7F == 0 ? status >> 8 & 0xFF : nil,
            text: text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
