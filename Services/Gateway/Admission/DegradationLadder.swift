import ChatCore

/// What turns are given less of while the cluster is busy, step after step as the estimated wait nears the tier's bound.
/// Pure; each step is off unless it is configured.
struct DegradationLadder: Sendable, Equatable {
    /// When answers of identical deterministic requests are given again.
    enum AnswerReuse: Sendable, Equatable { case off, underLoad, always }

    enum Step: Sendable, Equatable {
        case cachedAnswer
        case shorterContext(tokens: Int)
        case fewerTokens(Int)
        case lighterModel(String)
    }

    let answers: AnswerReuse
    /// The steps that are configured, in the order in which they are taken: first what costs the answer least.
    let steps: [Step]
    /// The share of the tier's bound at which the first step is taken; the others follow in equal distances up to it.
    let start: Double

    init(answers: AnswerReuse, contextTokens: Int?, maxTokens: Int?, lighterModel: String?, start: Double) {
        var steps: [Step] = answers == .underLoad ? [.cachedAnswer] : []
        if let contextTokens { steps.append(.shorterContext(tokens: contextTokens)) }
        if let maxTokens { steps.append(.fewerTokens(maxTokens)) }
        if let lighterModel { steps.append(.lighterModel(lighterModel)) }
        self.answers = answers
        self.steps = steps
        self.start = start
    }

    /// The steps in force.
    /// - Parameter pressure: the estimated wait as a share of the tier's bound.
    func steps(at pressure: Double) -> ArraySlice<Step> {
        let distance = (1 - start) / Double(max(steps.count, 1))
        return steps.prefix(steps.indices.count { pressure >= start + Double($0) * distance })
    }

    /// What a request asks for, as far as the ladder can take it away.
    struct Request: Equatable {
        var model: String
        /// A model that the client named stays: whoever names one may depend on it.
        var namesModel: Bool
        var maxTokens: Int
        /// Only a conversation that goes on has a history to shorten.
        var continuesConversation: Bool
    }

    struct Grant: Equatable {
        var model: String
        var maxTokens: Int
        /// nil when nothing was taken away.
        var degradation: Turn.Degradation?
        /// Whether an identical request's answer may be given.
        var mayReuseAnswer: Bool
    }

    /// - Parameter isServed: whether a node of that model is there: a lighter model that nobody serves helps nobody.
    func grant(_ request: Request, at pressure: Double, isServed: (String) -> Bool) -> Grant {
        var grant = Grant(model: request.model, maxTokens: request.maxTokens, mayReuseAnswer: answers == .always)
        var degradation = Turn.Degradation()
        for step in steps(at: pressure) {
            switch step {
            case .cachedAnswer: grant.mayReuseAnswer = true
            case .shorterContext(let tokens):
                if request.continuesConversation { degradation.contextTokens = tokens }
            case .fewerTokens(let most):
                guard request.maxTokens > most else { continue }
                grant.maxTokens = most
                degradation.requestedMaxTokens = request.maxTokens
            case .lighterModel(let model):
                guard !request.namesModel, model != request.model, isServed(model) else { continue }
                grant.model = model
                degradation.requestedModel = request.model
            }
        }
        if degradation != Turn.Degradation() { grant.degradation = degradation }
        return grant
    }
}
