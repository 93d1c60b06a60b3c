import Foundation

/// The file from which `deploy/local/stepped_clock.c` reads how far a process' date is off the machine's.
public struct ClockFile: Sendable {
    public let path: String

    public init(_ path: String) { self.path = path }

    /// - Parameter step: how far the date is off from now on.
    public func set(off step: Duration) throws {
        let microseconds = Int64(step / .microseconds(1))
        // Written in place: the process has this very file in its memory.
        guard let file = FileHandle(forWritingAtPath: path) else {
            throw TestServerError(description: "\(path): there is no clock")
        }
        try file.write(contentsOf: withUnsafeBytes(of: microseconds) { Data($0) })
        try file.close()
    }
}
