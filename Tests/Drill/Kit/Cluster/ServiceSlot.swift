import Foundation
import ServiceHarness
import Synchronization

/// A place for one process that is always to run: whoever dies there is started again, as `make up` or Kubernetes would.
final class ServiceSlot: Sendable {
    struct Exit: Sendable {
        let ending: ServiceProcess.Ending
        /// Whether the drill had sent it a signal that ends.
        let wasAsked: Bool
    }

    private struct State {
        var process: ServiceProcess?
        var isWanted = true
        var wasAsked = false
        var exits: [Exit] = []
    }

    /// Between a death and the next start.
    private static let restartDelay: Duration = .seconds(1)

    let name: ServiceName
    let logPath: String
    let clock: SteppedClock
    private let arguments: [String]
    private let environment: [String: String]
    private let state = Mutex(State())

    init(
        _ name: ServiceName, arguments: [String], environment: [String: String], clock: SteppedClock, folder: String
    ) {
        self.name = name
        self.arguments = arguments
        self.environment = environment.merging(clock.environment) { $1 }
        self.clock = clock
        logPath = "\(folder)/\(name).log"
    }

    /// All ends of its processes so far.
    var exits: [Exit] { state.withLock { $0.exits } }

    var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }

    /// Keeps a process running until ``retire()`` or cancellation.
    func run() async throws {
        while state.withLock({ $0.isWanted }), !Task.isCancelled {
            let process = try ServiceProcess(
                name.kind.rawValue, arguments: arguments, environment: environment, logPath: logPath)
            state.withLock {
                $0.process = process
                $0.wasAsked = !$0.isWanted
                if !$0.isWanted { process.signal(SIGTERM) }
            }
            var ending: ServiceProcess.Ending?
            while ending == nil {
                ending = process.reap()
                guard ending == nil else { break }
                guard (try? await Task.sleep(for: .milliseconds(10))) != nil else { return }
            }
            state.withLock { state in
                state.process = nil
                if let ending { state.exits.append(Exit(ending: ending, wasAsked: state.wasAsked)) }
            }
            guard state.withLock({ $0.isWanted }) else { return }
            try? await Task.sleep(for: ServiceSlot.restartDelay)
        }
    }

    func signal(_ number: Int32) {
        state.withLock { state in
            if number == SIGKILL || number == SIGTERM { state.wasAsked = true }
            state.process?.signal(number)
        }
    }

    /// Asks the process to end and no other to be started; ``run()`` returns when it is gone.
    func retire() {
        state.withLock { state in
            state.isWanted = false
            state.wasAsked = true
            state.process?.signal(SIGCONT)
            state.process?.signal(SIGTERM)
        }
    }
}
