import ArgumentParser
import DrillKit
import Foundation
import ServiceHarness

/// `make drill`: a cluster under faults, and what became of its turns.
@main
struct DrillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drill",
        abstract: "Kills, stops and cuts a whole cluster's parts at random, and checks that nobody lost anything.",
        subcommands: [Run.self, Pauses.self], defaultSubcommand: Run.self)

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The drill itself.")

        @Option(help: "How long faults go on.") var minutes = 5.0
        @Option(help: "What turns and faults are drawn from; the same seed repeats them.")
        var seed: UInt64 = .random(in: 1...999_999)
        @Option(help: "Turns to be played.") var turns = 300
        @Option(help: "Seconds between faults, on average.") var interval = 2.0
        @Flag(help: "Nodes without a model, quicker; so also where there is no model.") var simulated = false
        @Flag(help: "Keep the services' logs.") var keepLogs = false

        func validate() throws {
            guard minutes > 0, minutes <= 1440 else { throw ValidationError("--minutes: more than 0, at most 1440") }
            guard (1...100_000).contains(turns) else { throw ValidationError("--turns: 1 to 100000") }
            guard interval >= 0.05, interval.isFinite else { throw ValidationError("--interval: at least 0.05") }
        }

        func run() async throws {
            var options = Drill.Options()
            options.seed = seed
            options.turns = turns
            options.length = .milliseconds(Int64(minutes * 60_000))
            options.intensity.interval = interval
            options.keepsLogs = keepLogs
            if simulated || !TestModel.isThere { options.engine = .simulated(ttft: 30, itl: 15) }
            let report = try await Drill(options) { say($0) }.run()
            say("\n" + report.table + "\n")
            for violation in report.violations.prefix(200) { say("violation: \(violation)") }
            if let logs = report.logs { say("the services' logs are in \(logs)") }
            guard report.violations.isEmpty else { throw ExitCode(1) }
            say("Every turn ended once, with the tokens of the undisturbed run.")
        }
    }

    struct Pauses: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The longest silence of a stream at each kind of death, one fault at a time.")

        @Option(help: "Faults of each kind.") var repetitions = 5
        @Option(help: "Streams that run meanwhile.") var streams = 12

        func validate() throws {
            guard (1...1000).contains(repetitions) else { throw ValidationError("--repetitions: 1 to 1000") }
            guard (1...32).contains(streams) else { throw ValidationError("--streams: 1 to 32") }
        }

        func run() async throws {
            var measurement = PauseMeasurement()
            measurement.repetitions = repetitions
            measurement.streams = streams
            let results = try await measurement.run { say($0) }
            say("\n| What happens | median | longest of \(repetitions) |\n|---|---|---|")
            for result in results {
                say("| \(result.what) | \(seconds(result.median)) | \(seconds(result.longest)) |")
            }
        }

        private func seconds(_ duration: Duration) -> String { String(format: "%.1f s", duration / .seconds(1)) }
    }
}

/// Unbuffered: a drill is watched while it runs, also through a pipe.
private func say(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }
