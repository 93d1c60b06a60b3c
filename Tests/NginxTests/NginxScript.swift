import Foundation
import ServiceHarness
import TestServers

/// The scripts in `nginx/`.
enum NginxScript {
    struct Outcome: Sendable {
        let status: Int32
        /// Standard output and error.
        let output: String
    }

    /// Runs one to its end; fails unless it succeeds.
    static func run(_ command: [String]) async throws {
        let outcome = try await outcome(of: command, environment: ProcessInfo.processInfo.environment)
        guard outcome.status == 0 else { throw HarnessError("\(command): \(outcome.output)") }
    }

    static func outcome(of command: [String], environment: [String: String]) async throws -> Outcome {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Result { try outcomeBlocking(command, environment) })
            }
        }
    }

    private static func outcomeBlocking(_ command: [String], _ environment: [String: String]) throws -> Outcome {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw HarnessError("no descriptors left")
        }
        let program = TestServers.repository + "/nginx/" + (command.first ?? "")
        let process = try ChildProcess.spawn(
            [program] + command.dropFirst(), environment: environment, input: nil, output: ends[1])
        close(ends[1])
        let output = FileHandle(fileDescriptor: ends[0], closeOnDealloc: true).readDataToEndOfFile()
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        return Outcome(
            status: status & 0x7F == 0 ? status >> 8 & 0xFF : -1, output: String(decoding: output, as: UTF8.self))
    }
}
