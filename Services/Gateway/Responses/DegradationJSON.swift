import ChatCore

extension JSON {
    /// What a turn was given less of, in the metadata of its answer.
    static func degradation(_ degradation: Turn.Degradation) -> JSON {
        var members: [(String, JSON)] = [("steps", .array(degradation.steps.map { .string($0.rawValue) }))]
        if let tokens = degradation.contextTokens { members.append(("context_tokens", .integer(Int64(tokens)))) }
        if let tokens = degradation.requestedMaxTokens {
            members.append(("requested_max_tokens", .integer(Int64(tokens))))
        }
        if let model = degradation.requestedModel { members.append(("requested_model", .string(model))) }
        return .object(members)
    }
}

extension Turn.Degradation {
    /// The steps as clients know them, in the order in which they are taken.
    enum Step: String {
        case cachedAnswer = "cached_answer"
        case shorterContext = "shorter_context"
        case fewerTokens = "fewer_tokens"
        case lighterModel = "lighter_model"
    }

    var steps: [Step] {
        let taken: [(Step, Bool)] = [
            (.cachedAnswer, answerOf != nil), (.shorterContext, contextTokens != nil),
            (.fewerTokens, requestedMaxTokens != nil), (.lighterModel, requestedModel != nil),
        ]
        return taken.filter(\.1).map(\.0)
    }
}
