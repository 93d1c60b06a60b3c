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
        maximumSequences = try settings(Settings.maxConcurrent)
        switch choice {
        case .llama:
            let threads = try settings(Settings.engineThreads)
            let loaded = try LoadedModel(
                path: try settings(Settings.modelPath),
                options: ModelOptions(
                    threads: threads == 0 ? ModelOptions.coreCount : threads,
                    kernels: try KernelVariant(setting: try settings(Settings.engineKernels)),
                    fullPrecisionBackend: FullPrecisionBackend(try settings(Settings.engineMatrices)),
                    maxRows: max(try settings(Settings.engineStepTokens), maximumSequences),
                    kvBlocks: try settings(Settings.engineKVBlocks),
                    kvType: KVType(try settings(Settings.engineKVType))))
            let model = loaded.model
            var configuration = EngineConfiguration()
            configuration.scheduler.maxRunning = maximumSequences
            configuration.scheduler.maxWaiting = maximumSequences * 4
            configuration.scheduler.maxStepRows = max(try settings(Settings.engineStepTokens), maximumSequences)
            configuration.speculation.mode = SpeculationMode(try settings(Settings.engineSpeculation))
            var makeDraftPass: (@Sendable () throws -> any ForwardPass)?
            if configuration.speculation.mode == .draft {
                let draft = try LoadedModel(path: try settings(Settings.engineDraftModel), options: model.options)
                try loaded.requireVocabulary(ofDraft: draft)
                let draftModel = draft.model
                makeDraftPass = { try draftModel.makeForwardPass() }
            }
            configuration.swapBytes = try settings(Settings.engineSwap) << 20
            engine = try Engine(
                makeForwardPass: { try model.makeForwardPass() }, makeDraftPass: makeDraftPass,
                tokenizer: loaded.tokenizer, configuration: configuration, onStep: onStep, report: report)
            numericsID = model.numericsID
            stepSeconds = nil
            contextLength = model.configuration.contextLength
            logger.info(
                "the model is loaded",
                metadata: [
                    "kernels": "\(model.kernels.rawValue)", "numerics": "\(model.numericsID)",
                    "weights_mib": "\(model.weightBytes >> 20)", "context": "\(contextLength)",
                    "speculation": "\(configuration.speculation.mode.rawValue)",
                    "blas": "\(model.backendName ?? "none")", "row_invariant": "\(model.isRowInvariant)",
                ])
        case .simulated(let timeToFirstToken, let interTokenLatency, let hangsAfter):
            var configuration = SimulatedEngine.Configuration()
            configuration.timeToFirstToken = timeToFirstToken
            configuration.interTokenLatency = interTokenLatency
            contextLength = configuration.contextLength
            engine = try SimulatedNode(
                configuration: configuration, places: maximumSequences,
                hangsAfter: hangsAfter.map { .milliseconds($0) }, onStep: onStep, report: report)
            numericsID = "simulated"
            stepSeconds = max(timeToFirstToken, interTokenLatency) / 1000
        }
    }
}
