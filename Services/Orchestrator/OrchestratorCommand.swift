import ArgumentParser
import ServiceKit

/// The owner of turns in flight: plans them, has them generated, writes their logs, ends them.
@main
struct OrchestratorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "orchestrator",
        abstract: "Plans turns, has inference nodes generate them, and writes their logs.",
        discussion: Settings.help)

    func run() async {
        await ServiceMain.run("orchestrator", wire: wireOrchestrator)
    }
}
