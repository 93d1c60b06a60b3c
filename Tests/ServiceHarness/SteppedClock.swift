import Foundation
import TestServers

/// A date of its own for one of our services, off the machine's by what a test says; its monotonic clock stays the machine's.
public struct SteppedClock: Sendable {
    /// What the service is started with.
    public let environment: [String: String]
    private let file: ClockFile

    /// - Parameter folder: where the library that is preloaded, and the clock's file, are written.
    public init(in folder: String) async throws {
        file = ClockFile("\(folder)/clock-\(UUID().uuidString)")
        // All clocks of a folder share it.
        let library = "\(folder)/stepped_clock.so"
        if !FileManager.default.fileExists(atPath: library) {
            let source = TestServers.repository + "/deploy/local/stepped_clock.c"
            let made = try await Program.run("cc", ["-shared", "-fPIC", "-O2", "-o", library, source])
            guard made.status == 0 else { throw HarnessError("stepped_clock.c: \(made.text)") }
        }
        environment = ["LD_PRELOAD": library, "STEPPED_CLOCK_FILE": file.path]
        try Data(count: 8).write(to: URL(fileURLWithPath: file.path))
    }

    /// - Parameter step: how far the service's date is off the machine's from now on.
    public func set(off step: Duration) throws {
        try file.set(off: step)
    }
}
