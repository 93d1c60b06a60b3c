import Foundation

/// Starts programs that hear their signals, whatever thread starts them.
public enum ChildProcess {
    /// Spawns a program found by PATH.
    /// - Parameters:
    ///   - environment: all that the program gets; nil passes on this process' own.
    ///   - input: its standard input; nil stands for /dev/null.
    ///   - output: its standard output and error; nil stands for /dev/null.
    public static func spawn(
        _ command: [String], environment: [String: String]? = nil, input: Int32?, output: Int32?
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (target, source) in [(Int32(0), input), (1, output), (2, output)] {
            if let source {
                posix_spawn_file_actions_adddup2(&actions, source, target)
            } else {
                posix_spawn_file_actions_addopen(&actions, target, "/dev/null", O_RDWR, 0)
            }
        }
        // Sockets of tests that run beside this one are not the child's: it would keep their connections open for as long as
        // it lives, and whoever waits for their end would wait for ever.
        for descriptor in 3..<(highestDescriptor + descriptorsOpenedMeanwhile) {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        // Threads of Dispatch block every signal and children inherit that: a server would never hear its SIGTERM.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var noSignals = sigset_t()
        sigemptyset(&noSignals)
        posix_spawnattr_setsigmask(&attributes, &noSignals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let variables = environment ?? ProcessInfo.processInfo.environment
        var process: pid_t = 0
        let result = withStrings(command) { arguments in
            withStrings(variables.map { "\($0.key)=\($0.value)" }) { variables in
                posix_spawnp(&process, command.first ?? "", &actions, &attributes, arguments, variables)
            }
        }
        guard result == 0 else {
            throw TestServerError(description: "\(command.first ?? ""): \(String(cString: strerror(result)))")
        }
        return process
    }

    /// Other threads open some between the look and the start of the child. Closing one that is not open is no error.
    private static let descriptorsOpenedMeanwhile: Int32 = 64

    private static var highestDescriptor: Int32 {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return names.compactMap { Int32($0) }.max() ?? 3
    }

    /// The strings as C wants them: an array of pointers that a nil ends.
    private static func withStrings(
        _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Int32
    ) -> Int32 {
        let copies = strings.map { strdup($0) }
        defer { copies.forEach { free($0) } }
        return body(copies + [nil])
    }
}
