import ArgumentParser
import Foundation
import LlamaEngine
import ModelFile

/// Measures whole turns with and without speculation, in turns in the same process: a task whose answer quotes the question,
/// and one whose answer is new.
struct BenchSpeculation {
    private let loaded: LoadedModel
    private let template: ChatTemplate
    /// nil takes the text itself.
    private let draft: LlamaModel?
    private let repeats: Int
    private let json: Bool

    init(_ arguments: ModelArguments, draftModel: String?, repeats: Int, json: Bool) throws {
        let loaded = try arguments.load(maxRows: 256, kvBlocks: 2048)
        self.loaded = loaded
        template = try ChatTemplate(source: try ModelSource(path: arguments.path), tokenizer: loaded.tokenizer)
        draft = try draftModel.map { path in
            let draft = try LoadedModel(path: path, options: loaded.model.options)
            try loaded.requireVocabulary(ofDraft: draft)
            return draft.model
        }
        self.repeats = repeats
        self.json = json
    }

    private struct Task {
        let name: String
        let question: String
    }

    private static let passage = """
        The lighthouse keeper climbed the narrow stairs every evening at seven, carrying a lantern and a tin of oil. From the gallery \
        he could see the whole of the bay: fishing boats coming home, the ferry from the islands, and, far out, the grey line \
        where the weather was made. He wrote the time, the wind and the state of the sea into a thick book, and below them \
        anything that seemed worth remembering. On the third of March he wrote that a whale had passed close to the \
        rocks, and that nobody else had seen it. On the fourth he wrote that the glass had been cleaned, that two panes \
        were cracked, and that the supply boat was late again.
        """

    private static let tasks = [
        Task(name: "quote", question: "Repeat the following text word for word, without any change:\n\n\(passage)"),
        Task(name: "open", question: "Write a short story about a robot who learns to paint. Be inventive."),
    ]

    /// - Parameter counts: turns that run together.
    func run(counts: [Int], tokens: Int) throws {
        let prompts = try Self.tasks.map { task in
            try template.encode([ChatMessage(role: .user, content: task.question)])
        }
        let plain = try SpeculationCourse(loaded, draft: nil, mode: .off)
        let guessing = try SpeculationCourse(loaded, draft: draft, mode: draft == nil ? .lookup : .draft)
        for count in counts {
            for (task, prompt) in zip(Self.tasks, prompts) {
                // The first of each warms up.
                var rates: (plain: [Double], guessing: [Double]) = ([], [])
                var drafted: UInt64 = 0, accepted: UInt64 = 0
                for round in 0...repeats {
                    let without = try plain.run(prompt: prompt, count: count, tokens: tokens)
                    let with = try guessing.run(prompt: prompt, count: count, tokens: tokens)
                    guard with.output == without.output else {
                        throw ValidationError("\(task.name): the tokens with speculation are others than without")
                    }
                    guard round > 0 else { continue }
                    rates.plain.append(without.tokensPerSecond)
                    rates.guessing.append(with.tokensPerSecond)
                    drafted += with.drafted
                    accepted += with.accepted
                }
                report(task.name, count, rates.plain, rates.guessing, drafted: drafted, accepted: accepted)
            }
        }
    }

    private func report(
        _ task: String, _ count: Int, _ plain: [Double], _ guessing: [Double], drafted: UInt64, accepted: UInt64
    ) {
        func round(_ value: Double, _ digits: Double = 10) -> Double { (value * digits).rounded() / digits }
        // Each pair ran one after the other, so a machine that is slow for a while is slow for both.
        let ratio = round(zip(guessing, plain).map { $0 / $1 }.median, 100)
        print(
            json
                ? """
                {"test":"speculation","task":"\(task)","batch":\(count),"without":\(round(plain.median)),\
                "with":\(round(guessing.median)),"ratio":\(ratio),"drafted":\(drafted),"accepted":\(accepted)}
                """
                : """
                speculation, \(task), \(count) at a time: \(round(plain.median)) tokens/s without, \(round(guessing.median)) with, \
                ratio \(ratio) (\(accepted) of \(drafted) drafted tokens accepted)
                """)
    }
}

/// Runs equal turns through one engine.
private final class SpeculationCourse {
    struct Outcome {
        var output: [[Int32]]
        /// Of all turns together, from their first token to their last.
        var tokensPerSecond: Double
        var drafted: UInt64
        var accepted: UInt64
    }

    private let engine: Engine
    private let steps = StepQueue()
    private var nextID: UInt64 = 1

    init(_ loaded: LoadedModel, draft: LlamaModel?, mode: SpeculationMode) throws {
        let model = loaded.model
        var configuration = EngineConfiguration()
        configuration.speculation.mode = mode
        var makeDraftPass: (@Sendable () throws -> any ForwardPass)?
        if let draft { makeDraftPass = { try draft.makeForwardPass() } }
        engine = try Engine(
            makeForwardPass: { try model.makeForwardPass() }, makeDraftPass: makeDraftPass,
            tokenizer: loaded.tokenizer, configuration: configuration, onStep: steps.append)
    }

    func run(prompt: [Int32], count: Int, tokens: Int) throws -> Outcome {
        let before = engine.statistics
        let ids = (0..<UInt64(count)).map { nextID + $0 }
        nextID += UInt64(count)
        for id in ids {
            try engine.submit(
                GenerationRequest(
                    id: id, prompt: prompt, maxTokens: tokens,
                    // Alone greedy; together each its own answer.
                    sampling: count == 1 ? .greedy : SamplingParameters(temperature: 0.3, seed: id - ids[0])))
        }
        var output: [UInt64: [Int32]] = [:]
        var running = Set(ids)
        var first: ContinuousClock.Instant?
        var last = ContinuousClock.now
        var counted = 0
        while !running.isEmpty {
            let (events, time) = steps.take()
            for event in events {
                if event.token != TokenEvent.none { output[event.request, default: []].append(event.token) }
                if event.finish != nil { running.remove(event.request) }
            }
            if first == nil { first = time } else { counted += events.count }
            last = time
        }
        let seconds = (last - (first ?? last)) / .seconds(1)
        let after = engine.statistics
        return Outcome(
            output: ids.map { output[$0] ?? [] }, tokensPerSecond: seconds > 0 ? Double(counted) / seconds : 0,
            drafted: after.draftTokens - before.draftTokens,
            accepted: after.draftTokensAccepted - before.draftTokensAccepted)
    }
}

/// Hands the engine's steps to the thread that measures.
private final class StepQueue: @unchecked Sendable {  // guarded by `condition`
    private let condition = NSCondition()
    private var steps: [(events: [TokenEvent], time: ContinuousClock.Instant)] = []

    func append(_ events: [TokenEvent]) {
        let time = ContinuousClock.now
        condition.lock()
        steps.append((events, time))
        condition.signal()
        condition.unlock()
    }

    func take() -> (events: [TokenEvent], time: ContinuousClock.Instant) {
        condition.lock()
        defer { condition.unlock() }
        while steps.isEmpty { condition.wait() }
        return steps.removeFirst()
    }
}
