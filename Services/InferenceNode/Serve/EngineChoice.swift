import Foundation
import LlamaEngine
import Logging
import ModelFile
import ServiceKit

/// Which engine a node runs.
enum EngineChoice: Sendable {
    case llama
    /// Milliseconds; the last from the first job on.
    case simulated(timeToFirstToken: Double, interTokenLatency: Double, hangsAfter: Double?)
}

extension KVType {
    fileprivate init(_ setting: KVCacheType) {
        switch setting {
        case .f16: self = .f16
        case .bf16: self = .bf16
        case .q8: self = .q8
        }
    }
}

extension FullPrecisionBackend {
    fileprivate init(_ setting: MatrixBackend) {
        switch setting {
        case .automatic: self = .automatic
        case .openblas: self = .openBLAS
        case .panel: self = .panel
        }
    }
}

extension SpeculationMode {
    fileprivate init(_ setting: DraftSource) {
        switch setting {
        case .off: self = .off
        case .lookup: self = .lookup
        case .draft: self = .draft
        }
    }
}

/// An engine and what is to be announced of it.
struct RunningEngine: Sendable {
    let engine: any InferenceEngine
    let numericsID: String
    let contextLength: Int
    let maximumSequences: Int
    /// Seconds that a step is known to take, where nothing is measured.
    let stepSeconds: Double?

    init(
        _ choice: EngineChoice, settings: Settings, logger: Logger,
        onStep: @escaping @Sendable ([TokenEvent]) -> Void,
        report: @escaping @Sendable (StepReport) -> Void = { _ in }
    ) throws {
        switch choice {
        case .llama: self = try RunningEngine(settings, logger, onStep: onStep, report: report)
        case .simulated(let timeToFirstToken, let interTokenLatency, let hangsAfter):
            var configuration = SimulatedEngine.Configuration()
            configuration.timeToFirstToken = timeToFirstToken
            configuration.interTokenLatency = interTokenLatency
            contextLength = configuration.contextLength
            maximumSequences = try settings(Settings.maxConcurrent)
            engine = try SimulatedNode(
                configuration: configuration, places: maximumSequences,
                hangsAfter: hangsAfter.map { .milliseconds($0) }, onStep: onStep, report: report)
            numericsID = "simulated"
            stepSeconds = max(timeToFirstToken, interTokenLatency) / 1000
        }
    }

    private init(
        _ settings: Settings, _ logger: Logger, onStep: @escaping @Sendable ([TokenEvent]) -> Void,
        report: @escaping @Sendable (StepReport) -> Void
    ) throws {
        // As it is before the weights are there.
        let memory = MachineMemory()
        // Each running sequence may bring a row to a step.
        maximumSequences = min(try settings(Settings.maxConcurrent), ModelOptions.maximumRows)
        let rows = max(try settings(Settings.engineStepTokens), maximumSequences)
        let threads = try settings(Settings.engineThreads)
        let loaded = try LoadedModel(
            path: try settings(Settings.modelPath),
            options: ModelOptions(
                threads: threads == 0 ? ModelOptions.coreCount : threads,
                kernels: try KernelVariant(setting: try settings(Settings.engineKernels)),
                fullPrecisionBackend: FullPrecisionBackend(try settings(Settings.engineMatrices)), maxRows: rows,
                kvType: KVType(try settings(Settings.engineKVType))))
        let model = loaded.model
        for note in loaded.tokenizer.notes { logger.warning("the model's tokenizer", metadata: ["note": "\(note)"]) }
        var configuration = EngineConfiguration()
        configuration.scheduler.maxRunning = maximumSequences
        configuration.scheduler.maxWaiting = maximumSequences * 4
        configuration.scheduler.maxStepRows = rows
        configuration.speculation.mode = SpeculationMode(try settings(Settings.engineSpeculation))
        var draftModel: LlamaModel?
        if configuration.speculation.mode == .draft {
            let draft = try LoadedModel(path: try settings(Settings.engineDraftModel), options: model.options)
            try loaded.requireVocabulary(ofDraft: draft)
            draftModel = draft.model
        }
        contextLength = model.configuration.contextLength
        let weights = model.weightBytes + (draftModel?.weightBytes ?? 0)
        // The draft model has as many blocks of its own.
        let blockBytes = model.kvBlockBytes + (draftModel?.kvBlockBytes ?? 0)
        let room = KVRoom(memory, weights: weights)
        let (blocks, bound): (Int, String)
        switch try settings(Settings.engineKVBlocks) {
        case .count(let count):
            (blocks, bound) = (count, "ENGINE_KV_BLOCKS")
            if let room, count > room.bytes / max(1, blockBytes) {
                logger.warning(
                    "the KV blocks may take more memory than there is",
                    metadata: [
                        "kv_mib": "\(RunningEngine.mebibytes(count, blockBytes))", "room_mib": "\(room.bytes >> 20)",
                        "bound": "\(room.bound)",
                    ])
            }
        case .automatic:
            let automatic = try AutomaticBlocks(
                sequences: maximumSequences, contextLength: contextLength, blockBytes: blockBytes, weights: weights,
                room: room)
            (blocks, bound) = (automatic.count, automatic.bound)
        }
        configuration.swapBytes = try settings(Settings.engineSwap) << 20
        if configuration.swapBytes > 0, MachineMemory.holdsFiles(ofFolder: NSTemporaryDirectory()) {
            logger.warning(
                "ENGINE_SWAP_MIB is memory: the folder of temporary files lies in it; TMPDIR names another",
                metadata: ["folder": "\(NSTemporaryDirectory())"])
        }
        let makeDraftPass = draftModel.map { draft in
            { @Sendable () throws -> any ForwardPass in try draft.makeForwardPass(kvBlocks: blocks) }
        }
        engine = try Engine(
            makeForwardPass: { try model.makeForwardPass(kvBlocks: blocks) }, makeDraftPass: makeDraftPass,
            tokenizer: loaded.tokenizer, configuration: configuration, onStep: onStep, report: report)
        numericsID = model.numericsID
        stepSeconds = nil
        logger.info(
            "the model is loaded",
            metadata: [
                "kernels": "\(model.kernels.rawValue)", "numerics": "\(model.numericsID)",
                "weights_mib": "\(weights >> 20)", "context": "\(contextLength)", "blocks": "\(blocks)",
                "kv_mib": "\(RunningEngine.mebibytes(blocks, blockBytes))", "kv_bound": "\(bound)",
                "sequences": "\(maximumSequences)", "speculation": "\(configuration.speculation.mode.rawValue)",
                "blas": "\(model.backendName ?? "none")", "row_invariant": "\(model.isRowInvariant)",
            ])
    }

    private static func mebibytes(_ blocks: Int, _ blockBytes: Int) -> Int {
        let (bytes, overflow) = blocks.multipliedReportingOverflow(by: blockBytes)
        return (overflow ? .max : bytes) >> 20
    }
}
