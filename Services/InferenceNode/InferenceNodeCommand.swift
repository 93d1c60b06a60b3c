import ArgumentParser
import ServiceKit

/// The inference node: serves turns, or runs the engine by hand.
@main
struct InferenceNodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inference-node",
        abstract: "Runs Llama-style models on the CPU, for many turns at a time.",
        discussion: Settings.help,
        subcommands: [Serve.self, Generate.self, Tokenize.self, Perplexity.self, Bench.self, BenchTurns.self],
        defaultSubcommand: Serve.self)
}
