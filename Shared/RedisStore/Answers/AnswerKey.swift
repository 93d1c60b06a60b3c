import ChatCore
import ServiceKit

extension AnswerUse {
    /// The digest of all that a turn's answer follows from: tenant, model, conversation so far, what was sent along, the
    /// message and every parameter. Two turns of one key have the same answer.
    /// - Parameters:
    ///   - turn: a turn with a seed of its client's, or of temperature 0: what a random seed gives is no answer to another
    ///     request.
    ///   - history: all earlier turns of the conversation, oldest first.
    public static func key(of turn: Turn, history: [ContextCache.Entry]) -> String {
        var digest = FieldDigest()
        digest.add(turn.conversation.owner.tenant)
        digest.add(turn.model ?? "")
        digest.add(turn.degradation?.contextTokens ?? 0)
        let system = turn.system ?? history.last { $0.system != nil }?.system
        digest.add(system == nil ? 0 : 1)
        digest.add(system ?? "")
        let shown = history.filter { !$0.response.isEmpty }
        digest.add(shown.count)
        for entry in shown {
            digest.add(entry.message)
            digest.add(entry.response)
        }
        digest.add(turn.context.count)
        for message in turn.context {
            digest.add(message.role.rawValue)
            digest.add(message.content)
        }
        digest.add(turn.message)
        add(turn.sampling, to: &digest)
        return digest.hexadecimal()
    }

    private static func add(_ sampling: Turn.Sampling, to digest: inout FieldDigest) {
        digest.add(sampling.maxTokens)
        digest.add(sampling.topK)
        for value in [
            sampling.temperature, sampling.topP, sampling.minP, sampling.repetitionPenalty, sampling.presencePenalty,
            sampling.frequencyPenalty,
        ] { digest.add(value.bitPattern) }
        // Greedy decoding draws nothing: the seed, which may be a random one, changes nothing.
        digest.add(sampling.temperature == 0 ? 0 : sampling.seed)
        digest.add(sampling.stop.count)
        for stop in sampling.stop { digest.add(stop) }
    }
}
