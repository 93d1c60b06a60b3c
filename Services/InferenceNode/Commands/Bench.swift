import ArgumentParser
import Foundation
import LlamaEngine
import ModelFile

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measures prefill and decode of the engine alone.",
        discussion:
            "Greedy, warmed up. Decode at batch B counts the tokens of all B sequences, each after its own prompt.")

    @OptionGroup var model: ModelArguments

    @Option(help: "Tokens of the prompt that is prefilled; 0 leaves that test out.")
    var prefill = 512

    @Option(help: "Tokens of each sequence's prompt before its decode is measured.")
    var decodePrompt = 128

    @Option(help: "Tokens that each sequence decodes.")
    var generate = 64

    @Option(help: "Sequences that decode together, with commas between; empty leaves decode out.")
    var batch = "1,8,32"

    @Option(help: "Runs of each test; the median counts.")
    var repeats = 3

    @Flag(
        help: "Instead: latencies of streams and short prompts while long prompts are prefilled, and of a second turn.")
    var mixed = false

    @Flag(help: "Instead: KV slots allocated and not used over requests of mixed lengths; runs no model.")
    var waste = false

    @Flag(help: "Instead: what drawing the tokens of a step of 32 rows takes, beside such a step's decode.")
    var sampling = false

    @Flag(help: "Instead: whole turns with and without speculation, for each --batch and of --generate tokens.")
    var speculation = false

    @Option(help: "With --speculation: the GGUF file of a draft model; without one the text itself is looked up.")
    var draftModel: String?

    @Flag(help: "One JSON object a line.")
    var json = false

    @Flag(help: "Also prints what each kind of operation takes of a step; its clock is read at every barrier.")
    var profile = false

    func validate() throws {
        _ = try batches()
        guard (0...65_536).contains(prefill), (1...65_536).contains(decodePrompt), (1...65_536).contains(generate),
            (1...100).contains(repeats)
        else { throw ValidationError("a count is out of bounds") }
    }

    private func batches() throws -> [Int] {
        try batch.split(separator: ",").map { text in
            guard let count = Int(text), (1...1024).contains(count) else {
                throw ValidationError("--batch takes counts between 1 and 1024 with commas between, not \(text)")
            }
            return count
        }
    }

    func run() throws {
        if waste { return try BenchWaste(json: json).run() }
        if mixed {
            return try BenchMixed(loaded: model.load(maxRows: 512, kvBlocks: BenchMixed.blocks), json: json).run()
        }
        if sampling {
            return try BenchSampling(
                loaded: model.load(maxRows: 512, kvBlocks: BenchSampling.blocks), repeats: repeats, json: json
            ).run()
        }
        let batches = try batches()
        if speculation {
            return try BenchSpeculation(model, draftModel: draftModel, repeats: repeats, json: json)
                .run(counts: batches, tokens: generate)
        }
        let sequenceBlocks = (decodePrompt + generate) / StepBatch.blockSize + 1
        let blocks = max((batches.max() ?? 1) * sequenceBlocks, prefill / StepBatch.blockSize + 1)
        let start = ContinuousClock.now
        let loaded = try model.load(maxRows: max(512, batches.max() ?? 1), kvBlocks: blocks)
        let loadSeconds = (ContinuousClock.now - start) / .seconds(1)
        let course = BenchCourse(pass: try loaded.model.makeForwardPass(), chunk: 512)
        if prefill > 0 {
            _ = try course.prefill(tokens: prefill)  // warms caches, pages and threads
            let rates = try (0..<repeats).map { _ in Double(prefill) / (try course.prefill(tokens: prefill)) }
            report("prefill", 1, rates)
            if profile {
                let steps = (prefill + course.chunk - 1) / course.chunk
                print(
                    try StepProfile(of: course.pass, rows: prefill / steps, outputs: 1, steps: steps) {
                        _ = try course.prefill(tokens: prefill)
                    })
            }
        }
        for count in batches {
            let rates = try (0...repeats).map { _ in
                Double(count * generate)
                    / (try course.decode(sequences: count, prompt: decodePrompt, tokens: generate))
            }
            report("decode", count, Array(rates.dropFirst()))
            if profile {
                let decode = try course.prepareDecode(sequences: count, prompt: decodePrompt, tokens: generate)
                print(
                    try StepProfile(of: course.pass, rows: count, outputs: count, steps: generate) { try decode() })
            }
        }
        report(loaded.model, kvBytes: course.pass.kvBytes, loadSeconds: loadSeconds)
    }

    /// Last, when every page that the tests need has been touched.
    private func report(_ model: LlamaModel, kvBytes: Int, loadSeconds: Double) {
        let resident = ProcessInfo.processInfo.residentBytes ?? 0
        let seconds = (loadSeconds * 100).rounded() / 100
        let full = model.fullPrecisionBackend.map { model.backendName ?? $0.rawValue } ?? "none"
        print(
            json
                ? """
                {"test":"model","kernels":"\(model.kernels.rawValue)","full_precision":"\(full)",\
                "weights_mib":\(model.weightBytes >> 20),"kv_mib":\(kvBytes >> 20),"resident_mib":\(resident >> 20),\
                "load_seconds":\(seconds)}
                """
                : """
                kernels \(model.kernels.rawValue), full precision by \(full), \(model.weightBytes >> 20) MiB of weights \
                loaded in \(seconds) s, \(resident >> 20) MiB resident with \(kvBytes >> 20) MiB of KV
                """)
    }

    private func report(_ test: String, _ batch: Int, _ rates: [Double]) {
        let rate = (rates.median * 10).rounded() / 10
        print(
            json
                ? "{\"test\":\"\(test)\",\"batch\":\(batch),\"tokens_per_second\":\(rate)}"
                : "\(test) batch \(batch): \(rate) tokens/s")
    }
}

/// Runs sequences through a forward pass, without scheduler or sampler between: what is measured is the model.
struct BenchCourse {
    let pass: LlamaForwardPass
    /// Rows of one prefill step at most.
    let chunk: Int
    private let sampler: GreedySampler

    init(pass: LlamaForwardPass, chunk: Int) {
        self.pass = pass
        self.chunk = chunk
        sampler = GreedySampler(vocabulary: pass.vocabulary)
    }

    /// Seconds for one prompt.
    func prefill(tokens: Int) throws -> Double {
        try seconds { _ = try fill(sequence: 0, tokens: tokens, table: table(0, length: tokens)) }
    }

    /// Seconds for `tokens` greedy steps of all sequences, after prompts of their own.
    func decode(sequences: Int, prompt: Int, tokens: Int) throws -> Double {
        let decode = try prepareDecode(sequences: sequences, prompt: prompt, tokens: tokens)
        return try seconds(decode)
    }

    /// Prefills the prompts and returns what decodes after them, once.
    func prepareDecode(sequences: Int, prompt: Int, tokens: Int) throws -> () throws -> Void {
        let tables = (0..<sequences).map { table($0, length: prompt + tokens) }
        var last = try (0..<sequences).map { try fill(sequence: $0, tokens: prompt, table: tables[$0]) }
        var batch = StepBatch(
            maxRows: sequences, maxSequences: sequences, maxBlocks: sequences * (tables.first?.count ?? 0))
        return {
            for step in 0..<tokens {
                batch.removeAll()
                for sequence in 0..<sequences {
                    batch.beginSequence(blockTable: tables[sequence])
                    batch.append(token: last[sequence], position: Int32(prompt + step), wantsLogits: true)
                }
                try pass.run(batch)
                for sequence in 0..<sequences { last[sequence] = try greedy(pass.logits(sequence)) }
            }
        }
    }

    private func table(_ sequence: Int, length: Int) -> [Int32] {
        let count = (length + StepBatch.blockSize - 1) / StepBatch.blockSize
        return (0..<count).map { Int32(sequence * count + $0) }
    }

    /// Prefills a prompt of varied tokens, the same for the same sequence, and returns the first token after it.
    private func fill(sequence: Int, tokens: Int, table: [Int32]) throws -> Int32 {
        var batch = StepBatch(maxRows: chunk, maxSequences: 1, maxBlocks: table.count)
        for start in stride(from: 0, to: tokens, by: chunk) {
            batch.removeAll()
            batch.beginSequence(blockTable: table)
            for position in start..<min(start + chunk, tokens) {
                let token = Int32((position * 7919 + sequence * 104_729 + 17) % pass.vocabulary)
                batch.append(token: token, position: Int32(position), wantsLogits: position == tokens - 1)
            }
            try pass.run(batch)
        }
        return try greedy(pass.logits(0))
    }

    private func greedy(_ logits: UnsafeMutableBufferPointer<Float>) throws -> Int32 {
        guard let token = sampler.token(logits) else {
            throw ValidationError("the model gave a logit that is not finite")
        }
        return token
    }

    private func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = ContinuousClock.now
        try body()
        return (ContinuousClock.now - start) / .seconds(1)
    }
}

extension [Double] {
    /// The upper one of the two middle values of an even number; NaN of none.
    var median: Double { isEmpty ? .nan : sorted()[count / 2] }
}

extension ProcessInfo {
    /// Bytes of this process that are in memory, as Linux counts them; nil elsewhere.
    var residentBytes: Int? {
        guard let status = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
        let fields = status.split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else { return nil }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
