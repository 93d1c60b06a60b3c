import ArgumentParser
import Foundation
import LlamaEngine
import ModelFile

struct Generate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Continues the text of standard input.",
        discussion: "A raw completion: no chat template is applied.")

    @OptionGroup var model: ModelArguments

    @Option(help: "Tokens to generate at most.")
    var maxTokens = 128

    @Option(help: "0 takes the most likely token each time.")
    var temperature: Float = 0.7

    @Option(help: "Sample from the k most likely tokens only; 0 takes all.")
    var topK = 40

    @Option(help: "Sample from the most likely tokens that have this probability together.")
    var topP: Float = 0.95

    @Option(help: "The same seed gives the same text.")
    var seed: UInt64 = 0

    @Option(help: "A text that ends the answer; may be given several times.")
    var stop: [String] = []

    func validate() throws {
        guard (1...(1 << 24)).contains(maxTokens) else {
            throw ValidationError("--max-tokens must be between 1 and \(1 << 24)")
        }
    }

    func run() async throws {
        let prompt = String(decoding: try FileHandle.readInput(), as: UTF8.self)
        let tokenizer = try Tokenizer(source: try ModelSource(path: model.path))
        var ids = tokenizer.encode(prompt, parseSpecial: false, addSpecial: true)
        // An empty prompt still needs a token to begin from.
        if ids.isEmpty, let first = tokenizer.bos ?? tokenizer.eos { ids = [first] }
        let blocks = (ids.count + maxTokens) / StepBatch.blockSize + 2
        let loaded = try model.load(kvBlocks: blocks)
        let (events, continuation) = AsyncStream<TokenEvent>.makeStream()
        let engine = try Engine(
            makeForwardPass: { try loaded.model.makeForwardPass() }, tokenizer: tokenizer,
            configuration: EngineConfiguration()
        ) { step in step.forEach { continuation.yield($0) } }
        try engine.submit(
            GenerationRequest(
                id: 1, prompt: ids, maxTokens: maxTokens,
                sampling: SamplingParameters(temperature: temperature, topK: topK, topP: topP, seed: seed), stop: stop))
        var text = TextAssembler(tokenizer: tokenizer, stop: stop)
        for await event in events {
            if event.token >= 0 { FileHandle.standardOutput.write(Data(text.append(event.token).utf8)) }
            guard let finish = event.finish else { continue }
            FileHandle.standardOutput.write(Data((text.finish() + "\n").utf8))
            await engine.shutdown()
            guard finish == .stop || finish == .length else {
                throw ValidationError("generation ended as \(finish.rawValue): \(event.reason ?? "")")
            }
            return
        }
    }
}
