import Foundation
import ServiceHarness
import Testing

/// Every executable speaks for itself before it connects to anything.
@Suite struct ExecutableTests {
    private static let services = ["gateway", "orchestrator", "queue-worker", "inference-node"]

    @Test(arguments: services + ["switchboard"]) func helpListsTheSettings(name: String) async throws {
        let help = try await Executable.output(name, ["--help"], environment: [:])
        #expect(help.contains("USAGE") && help.contains("REDIS_PORT") && help.contains("DATABASE_SHARDS"))
    }

    @Test(arguments: services) func aBadSettingIsRefusedByNameAtStart(name: String) async throws {
        for (variable, text) in [("REDIS_PROT", "1"), ("GATEWAY_PORT", "eighty"), ("RABBITMQ_URI", "http://x")] {
            let environment = [
                variable: text, "MODEL_PATH": Cluster.modelPath, "DATABASE_SHARDS": "postgresql://u@127.0.0.1/d",
            ]
            let error = await #expect(throws: HarnessError.self) {
                try await Executable.output(name, [], environment: environment)
            }
            #expect(error?.description.contains(variable) == true, "\(error?.description ?? "")")
        }
    }
}
