/// Drafts from the sequence's own text, prompt and answer.
final class LookupDrafter: Drafter {
    private final class Text {
        var lookup = PromptLookup()
        var match: PromptLookup.Match?
        var rates: [AcceptanceRate]

        init(rates: [AcceptanceRate]) { self.rates = rates }
    }

    private var texts: [UInt64: Text] = [:]
    /// Of all sequences: what a new one may expect of a match of each kind.
    private var rates: [AcceptanceRate]

    /// Matches of so many tokens or more are of a kind of their own: the longer the match, the surer the guess.
    static let kinds = [2, 4, 10]

    init() {
        rates = [0.2, 0.5, 0.8].map { AcceptanceRate(expectation: $0, weight: 16, memory: 512) }
    }

    func candidate(for sequence: ScheduledSequence) -> DraftAllocation.Candidate {
        let text = text(of: sequence.id)
        text.match = text.lookup.match(sequence.tokens)
        guard let match = text.match else { return .init(acceptance: 0, longest: 0) }
        return .init(acceptance: text.rates[Self.kind(match)].rate, longest: .max)
    }

    func drafts(
        for sequences: [ScheduledSequence], lengths: [Int], probes: [Bool]
    ) -> [(tokens: [Int32], kind: Int)] {
        zip(sequences, lengths).map { (sequence, length) in
            guard let match = texts[sequence.id]?.match else { return ([], 0) }
            let tokens = PromptLookup.continuation(of: match, in: sequence.tokens, count: max(1, length))
            return (tokens, Self.kind(match))
        }
    }

    var isFree: Bool { true }

    func seconds(sequences: Int, depth: Int) -> Double { 0 }

    func record(isRight: Bool, kind: Int, for id: UInt64) {
        rates[kind].record(isRight: isRight)
        texts[id]?.rates[kind].record(isRight: isRight)
    }

    func forget(_ id: UInt64) { texts[id] = nil }

    private func text(of id: UInt64) -> Text {
        if let text = texts[id] { return text }
        let text = Text(rates: rates.map { AcceptanceRate(expectation: $0.rate, weight: 3, memory: 24) })
        texts[id] = text
        return text
    }

    private static func kind(_ match: PromptLookup.Match) -> Int {
        (kinds.lastIndex { match.length >= $0 }) ?? 0
    }
}
