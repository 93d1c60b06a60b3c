import ChatCore

/// The planner of each model: tokenizer, template and context length are the model's own.
struct PromptPlanners: Sendable {
    /// For every model that has none of its own, such as another quantisation of the same weights.
    let standard: PromptPlanner
    var others: [String: PromptPlanner] = [:]

    subscript(turn: Turn) -> PromptPlanner { turn.model.flatMap { others[$0] } ?? standard }
}
