import Foundation
import LlamaEngine
import Logging
import ServiceHarness
import ServiceKit
import Testing

@testable import inference_node

@Suite struct EngineChoiceTests {
    /// MAX_CONCURRENT may be larger than the rows that a step can hold, and every running sequence may bring a row: the node takes
    /// what the engine can, instead of not starting.
    @Test(.enabled(if: TestModel.isThere), arguments: [(16_384, ModelOptions.maximumRows), (4097, 4096), (3, 3)])
    func aNodeTakesNoMoreSequencesThanAStepHasRows(setting: Int, sequences: Int) async throws {
        let settings = try Settings(environment: [
            "MODEL_PATH": TestModel.path, "MAX_CONCURRENT": String(setting), "ENGINE_KV_BLOCKS": "16",
            "ENGINE_THREADS": "1",
        ])
        let running = try RunningEngine(.llama, settings: settings, logger: Logger(label: "test"), onStep: { _ in })
        #expect(running.maximumSequences == sequences)
        await running.engine.shutdown()
    }
}
