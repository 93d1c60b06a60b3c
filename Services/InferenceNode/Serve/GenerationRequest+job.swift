import ChatCore
import LlamaEngine

extension GenerationRequest {
    /// What a job asks of the engine.
    init(request: UInt64, job: GenerationJob) {
        let sampling = job.sampling
        self.init(
            id: request, prompt: job.prompt, outputSoFar: job.outputSoFar, maxTokens: sampling.maxTokens,
            sampling: SamplingParameters(
                temperature: sampling.temperature, topK: sampling.topK, topP: sampling.topP, minP: sampling.minP,
                repetitionPenalty: sampling.repetitionPenalty, presencePenalty: sampling.presencePenalty,
                frequencyPenalty: sampling.frequencyPenalty, seed: sampling.seed),
            stop: sampling.stop, priority: job.kind.priority, cacheSalt: job.tenant)
    }
}

extension Turn.Kind {
    fileprivate var priority: RequestPriority {
        switch self {
        case .stream: .stream
        case .chat: .chat
        case .batch: .batch
        }
    }
}
