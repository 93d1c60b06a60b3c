import ArgumentParser
import ChatCore
import Foundation
import LlamaEngine
import Logging
import ModelFile
import ServiceKit

/// The engine alone, on requests that a cluster gets as well: what a node makes of them without anything around it.
struct BenchTurns: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-turns",
        abstract: "Measures the engine alone on turns that arrive together.",
        discussion: """
            Each line of standard input is one round: {"turns": [{"message", "max_tokens", "temperature", "seed"}]}. Its turns \
            are submitted at once, with the prompts and sampling values that they would have as turns of a cluster, to an engine \
            made of the same settings as a node's. Each line of standard output is what came of a round: seconds from the first \
            submission to the last token, and for each turn its text and its counts of tokens.
            """)

    private struct Round: Decodable {
        struct Turn: Decodable {
            let message: String
            let maxTokens: Int
            let temperature: Float
            let seed: UInt64

            enum CodingKeys: String, CodingKey {
                case message, temperature, seed
                case maxTokens = "max_tokens"
            }
        }
        let turns: [Turn]
    }

    private struct Result: Encodable {
        struct Answer: Encodable {
            let text: String
            let promptTokens: Int
            let tokens: Int

            enum CodingKeys: String, CodingKey {
                case text, tokens
                case promptTokens = "prompt_tokens"
            }
        }
        let seconds: Double
        let firstTokenSeconds: [Double]
        let answers: [Answer]

        enum CodingKeys: String, CodingKey {
            case seconds, answers
            case firstTokenSeconds = "first_token_seconds"
        }
    }

    func run() async throws {
        let settings = try Settings(environment: ProcessInfo.processInfo.environment)
        let (steps, continuation) = AsyncStream<(events: [TokenEvent], at: ContinuousClock.Instant)>.makeStream()
        let engine = try RunningEngine(
            .llama, settings: settings, logger: Logger(label: "bench"), onStep: { continuation.yield(($0, .now)) },
            report: { _ in })
        let source = try ModelSource(path: try settings(Settings.modelPath))
        let tokenizer = try Tokenizer(source: source)
        let template = try ChatTemplate(source: source, tokenizer: tokenizer)
        var iterator = steps.makeAsyncIterator()
        var last: UInt64 = 0
        var random = SystemRandomNumberGenerator()
        while let line = readLine() {
            let turns = try JSONDecoder().decode(Round.self, from: Data(line.utf8)).turns
            let requests = try turns.map { turn -> GenerationRequest in
                last += 1
                return GenerationRequest(
                    request: last,
                    job: GenerationJob(
                        turn: TurnID(milliseconds: 0, using: &random), epoch: 1, attempt: 1, orchestrator: "",
                        tenant: "bench",
                        prompt: try template.encode([ChatMessage(role: .user, content: turn.message)]),
                        outputSoFar: [],
                        sampling: .init(maxTokens: turn.maxTokens, temperature: turn.temperature, seed: turn.seed),
                        kind: .stream, deadline: .max))
            }
            let start = ContinuousClock.now
            for request in requests { try engine.engine.submit(request) }
            var course = Course()
            while course.ended < requests.count, let step = await iterator.next() {
                try course.take(step.events, at: (step.at - start) / .seconds(1))
            }
            try report(requests, course, tokenizer)
        }
        await engine.engine.shutdown()
    }

    /// What the steps of one round have brought.
    private struct Course {
        var output: [UInt64: [Int32]] = [:]
        var firstTokenSeconds: [UInt64: Double] = [:]
        var seconds = 0.0
        var ended = 0

        mutating func take(_ events: [TokenEvent], at time: Double) throws {
            seconds = time
            for event in events {
                if event.token != TokenEvent.none {
                    output[event.request, default: []].append(event.token)
                    if firstTokenSeconds[event.request] == nil { firstTokenSeconds[event.request] = time }
                }
                guard let finish = event.finish else { continue }
                ended += 1
                guard finish == .stop || finish == .length else {
                    throw ValidationError("a turn ended as \(finish.rawValue): \(event.reason ?? "")")
                }
            }
        }
    }

    private func report(_ requests: [GenerationRequest], _ course: Course, _ tokenizer: Tokenizer) throws {
        let answers = requests.map { request -> Result.Answer in
            var assembler = TextAssembler(tokenizer: tokenizer)
            let ids = course.output[request.id] ?? []
            let text = ids.reduce(into: "") { $0 += assembler.append($1) } + assembler.finish()
            return Result.Answer(text: text, promptTokens: request.prompt.count, tokens: ids.count)
        }
        let result = Result(
            seconds: course.seconds, firstTokenSeconds: requests.compactMap { course.firstTokenSeconds[$0.id] },
            answers: answers)
        FileHandle.standardOutput.write(try JSONEncoder().encode(result) + Data("\n".utf8))
    }
}
