import ChatCore

/// The planner of each model: tokenizer, template and context length are the model's own.
struct PromptPlanners: Sendable {
    /// For every model that has none of its own, such as another quantisation of the same weights.
    let standard: PromptPlanner
    var others: [String: PromptPlanner] = [:]

    /// What the context of each model can hold of text, where that is known.
    /// - Parameter name: the model of most turns, whose planner is the standard one.
    func bounds(of name: String) -> [String: ContextBound] {
        others.merging([name: standard]) { $1 }.compactMapValues { planner in
            planner.tokenizer.longestCoverage.map {
                ContextBound(tokens: planner.contextLength, bytesPerToken: $0)
            }
        }
    }

    subscript(turn: Turn) -> PromptPlanner { turn.model.flatMap { others[$0] } ?? standard }
}
