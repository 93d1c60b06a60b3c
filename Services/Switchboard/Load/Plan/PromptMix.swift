/// How often each kind of conversation comes: weights, of which only the ratio counts.
struct PromptMix: Sendable, Equatable {
    enum Kind: String, Sendable, CaseIterable {
        /// One message of a few words.
        case short
        /// One message of some hundred words: prefill.
        case long
        /// A few words behind one long system message that all of them share: the prefix cache.
        case shared
        /// Two to five turns of one conversation, each a few words: history.
        case conversation
        /// A line of the file of prompts.
        case file
    }

    private let weights: [(kind: Kind, weight: Double)]
    private let sum: Double

    static let short = PromptMix([(.short, 1)])
    static let file = PromptMix([(.file, 1)])

    private init(_ weights: [(kind: Kind, weight: Double)]) {
        self.weights = weights
        sum = weights.reduce(0) { $0 + $1.weight }
    }

    /// `short=70,long=10,shared=20`; a kind without a number weighs 1.
    init(_ text: String) throws(LoadError) {
        var weights: [(kind: Kind, weight: Double)] = []
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard let kind = Kind(rawValue: String(pair[0])) else {
                throw .invalid(
                    option: "--prompts",
                    "knows \(Kind.allCases.map(\.rawValue).joined(separator: ", ")), not '\(pair[0].prefix(40))'")
            }
            guard let weight = pair.count > 1 ? Double(pair[1]) : 1, (0...1e6).contains(weight) else {
                throw .invalid(option: "--prompts", "wants a weight from 0 to 1000000 for \(kind.rawValue)")
            }
            guard !weights.contains(where: { $0.kind == kind }) else {
                throw .invalid(option: "--prompts", "names \(kind.rawValue) twice")
            }
            weights.append((kind, weight))
        }
        self.init(weights)
        guard sum > 0 else { throw .invalid(option: "--prompts", "must weigh something") }
    }

    func choose(using random: inout some RandomNumberGenerator) -> Kind {
        var point = Double.random(in: 0..<sum, using: &random)
        for (kind, weight) in weights {
            guard point >= weight else { return kind }
            point -= weight
        }
        return weights.last { $0.weight > 0 }?.kind ?? .short
    }

    func contains(_ kind: Kind) -> Bool { weights.contains { $0.kind == kind && $0.weight > 0 } }

    static func == (left: PromptMix, right: PromptMix) -> Bool {
        left.weights.elementsEqual(right.weights) { $0.kind == $1.kind && $0.weight == $1.weight }
    }
}
