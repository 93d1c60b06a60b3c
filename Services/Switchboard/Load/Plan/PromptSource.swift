/// What clients say: conversations of a mix, each another, made from random words.
///
/// No two messages are alike, so that no answer can be one that was kept; what is shared is the system message of
/// `shared` alone.
struct PromptSource {
    struct Conversation: Equatable {
        var system: String?
        /// What the user says, turn by turn; at least one.
        var messages: [String]
    }

    private let mix: PromptMix
    /// Lines of the user's file, said in their order, again and again.
    private let lines: [String]
    private var line = 0
    private let sharedSystem: String

    static let longWords = 600
    static let sharedWords = 400

    init(_ mix: PromptMix, lines: [String] = [], using random: inout some RandomNumberGenerator) {
        self.mix = mix
        self.lines = lines
        sharedSystem = PromptSource.text(words: PromptSource.sharedWords, using: &random)
    }

    mutating func next(using random: inout some RandomNumberGenerator) -> Conversation {
        switch mix.choose(using: &random) {
        case .file where !lines.isEmpty:
            defer { line = (line + 1) % lines.count }
            return Conversation(messages: [lines[line]])
        case .short, .file: return Conversation(messages: [PromptSource.question(using: &random)])
        case .long: return Conversation(messages: [PromptSource.text(words: PromptSource.longWords, using: &random)])
        case .shared: return Conversation(system: sharedSystem, messages: [PromptSource.question(using: &random)])
        case .conversation:
            let turns = Int.random(in: 2...5, using: &random)
            return Conversation(messages: (0..<turns).map { _ in PromptSource.question(using: &random) })
        }
    }

    private static func question(using random: inout some RandomNumberGenerator) -> String {
        text(words: Int.random(in: 6...16, using: &random), using: &random)
    }

    private static func text(words count: Int, using random: inout some RandomNumberGenerator) -> String {
        let text = (0..<count).map { _ in vocabulary[Int.random(in: 0..<vocabulary.count, using: &random)] }
            .joined(separator: " ")
        return text.prefix(1).uppercased() + text.dropFirst() + "?"
    }

    private static let vocabulary = """
        the a of to and in is that it for as with on be at by this which or from how why what when where who does can \
        could should river mountain city house garden window table letter story engine message answer question number \
        light water stone bread music winter summer morning night doctor teacher farmer sailor child friend neighbour \
        country history science market price road bridge train ship island forest animal bird horse flower colour \
        small large old young quick slow quiet bright dark warm cold simple strange early late before after between \
        under over without because although while explain describe compare write build carry follow remember forget \
        change grow begin end find lose open close give take keep bring send learn teach read speak travel work rest
        """.split(separator: " ").map(String.init)
}
