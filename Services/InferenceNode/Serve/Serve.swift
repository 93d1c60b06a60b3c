import ArgumentParser
import LlamaEngine
import Logging
import ServiceKit
import ServiceLifecycle

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves turns from the broker.", discussion: Settings.help)

    enum EngineKind: String, ExpressibleByArgument, CaseIterable { case llama, simulated }

    @Option(help: "llama runs the model; simulated only keeps its pace, for load tests.")
    var engine = EngineKind.llama

    @Option(help: "Simulated: milliseconds to the first token.")
    var ttftMs = 100.0

    @Option(help: "Simulated: milliseconds between tokens.")
    var itlMs = 20.0

    @Option(help: "Simulated: milliseconds after the first job from which on the engine hangs, for drills.")
    var hangAfterMs: Double?

    func validate() throws {
        guard [ttftMs, itlMs, hangAfterMs ?? 0].allSatisfy((0...600_000).contains) else {
            throw ValidationError("--ttft-ms, --itl-ms and --hang-after-ms must be between 0 and 600000")
        }
    }

    func run() async {
        let choice: EngineChoice =
            engine == .llama
            ? .llama : .simulated(timeToFirstToken: ttftMs, interTokenLatency: itlMs, hangsAfter: hangAfterMs)
        await ServiceMain.run("inference-node") { settings, logger in
            try wireInferenceNode(settings, choice, logger)
        }
    }
}
