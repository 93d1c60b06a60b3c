import Foundation
import TestServers

/// A date of its own for one of our services, off the machine's by what a test says; its monotonic clock stays the machine's.
public struct SteppedClock: Sendable {
    /// What the service is started with.
    public let environment: [String: String]
    private let path: String

    /// - Parameter folder: where the library that is preloaded, and the clock's file, are written.
    public init(in folder: String) async throws {
        path = "\(folder)/clock-\(UUID().uuidString)"
        let library = "\(path).so"
        let made = try await Program.run(
            "cc", ["-shared", "-fPIC", "-O2", "-o", library, TestServers.repository + "/deploy/local/stepped_clock.c"])
        guard made.status == 0 else { throw HarnessError("stepped_clock.c: \(made.text)") }
        environment = ["LD_PRELOAD": library, "STEPPED_CLOCK_FILE": path]
        try Data(count: 8).write(to: URL(fileURLWithPath: path))
    }

    /// - Parameter step: how far the service's date is off the machine's from now on.
    public func set(off step: Duration) throws {
        let microseconds = Int64(step / .microseconds(1))
        // Written in place: the service has this very file in its memory.
        guard let file = FileHandle(forWritingAtPath: path) else { throw HarnessError("\(path) is gone") }
        try file.write(contentsOf: withUnsafeBytes(of: microseconds) { Data($0) })
        try file.close()
    }
}
