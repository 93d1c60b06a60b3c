import Foundation
import LlamaEngine

/// Leads a forward pass along a fixture's tokens and shows the logits of every position.
///
/// Prompts are prefilled one after another in chunks; then every step decodes one token of all of them, as the
/// scheduler would. What a row gives does not depend on the others, which other tests show.
struct GoldenRun {
    let fixture: GoldenFixture
    let pass: LlamaForwardPass
    let dump: FileHandle?

    static func blocks(for fixture: GoldenFixture) -> Int {
        fixture.header.prompts.reduce(0) { $0 + blocks(tokens: $1.prompt.count + fixture.header.steps) }
    }

    private static func blocks(tokens: Int) -> Int { (tokens + StepBatch.blockSize - 1) / StepBatch.blockSize }

    /// With `SWITCHBOARD_LOGITS_DUMP` set to a folder, the whole logits are written there as `<name>.f32`,
    /// which Tests/Reference/compare_logits.py compares with the reference's.
    init(fixture: GoldenFixture, pass: LlamaForwardPass, name: String) throws {
        self.fixture = fixture
        self.pass = pass
        guard let folder = ProcessInfo.processInfo.environment["SWITCHBOARD_LOGITS_DUMP"], !folder.isEmpty else {
            dump = nil
            return
        }
        let file = URL(filePath: folder).appending(path: "\(name).f32")
        try Data().write(to: file)
        dump = try FileHandle(forWritingTo: file)
    }

    /// - Parameter body: takes the index of the prompt, the step, and the logits `[vocabulary]` that choose its token.
    func forEachPosition(_ body: (Int, Int, UnsafeBufferPointer<Float>) throws -> Void) throws {
        let prompts = fixture.header.prompts
        var batch = StepBatch(maxRows: pass.maxRows, maxSequences: prompts.count, maxBlocks: pass.kvBlockCount)
        func show(prompt: Int, step: Int, output: Int) throws {
            let logits = UnsafeBufferPointer(pass.logits(output))
            if let dump {
                try dump.seek(toOffset: UInt64((prompt * fixture.header.steps + step) * logits.count * 4))
                try dump.write(contentsOf: UnsafeRawBufferPointer(logits))
            }
            try body(prompt, step, logits)
        }

        var tables: [[Int32]] = [], firstBlock = 0
        for (index, prompt) in prompts.enumerated() {
            let count = Self.blocks(tokens: prompt.prompt.count + fixture.header.steps)
            tables.append((firstBlock..<firstBlock + count).map { Int32($0) })
            firstBlock += count
            for start in stride(from: 0, to: prompt.prompt.count, by: pass.maxRows) {
                let end = min(start + pass.maxRows, prompt.prompt.count)
                batch.removeAll()
                batch.beginSequence(blockTable: tables[index])
                for position in start..<end {
                    batch.append(
                        token: prompt.prompt[position], position: Int32(position),
                        wantsLogits: position == prompt.prompt.count - 1)
                }
                try pass.run(batch)
            }
            try show(prompt: index, step: 0, output: 0)
        }
        for step in 1..<fixture.header.steps {
            batch.removeAll()
            for (index, prompt) in prompts.enumerated() {
                batch.beginSequence(blockTable: tables[index])
                let position = prompt.prompt.count + step - 1
                batch.append(token: prompt.output[step - 1], position: Int32(position), wantsLogits: true)
            }
            try pass.run(batch)
            for index in prompts.indices { try show(prompt: index, step: step, output: index) }
        }
    }
}

/// The lowest id of the largest logit, and the mean.
func argmaxAndMean(_ logits: UnsafeBufferPointer<Float>) -> (argmax: Int32, mean: Double) {
    var best = 0, largest = -Float.infinity, sum = 0.0
    var index = 0
    while index < logits.count {  // not a for: tests are built without optimisation
        let logit = logits[index]
        if logit > largest {
            largest = logit
            best = index
        }
        sum += Double(logit)
        index &+= 1
    }
    return (Int32(best), sum / Double(logits.count))
}
