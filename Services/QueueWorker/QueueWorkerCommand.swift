import ArgumentParser
import ServiceKit

/// Settles what the other services have finished.
@main
struct QueueWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue-worker",
        abstract: "Settles ended turns in their users' PostgreSQL shards.",
        discussion: Settings.help)

    func run() async {
        await ServiceMain.run("queue-worker", wire: wireQueueWorker)
    }
}
