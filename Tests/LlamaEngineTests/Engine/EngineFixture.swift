import Foundation
import SeededRandom

@testable import LlamaEngine

/// An engine on a fake forward pass, with the log of its events.
struct EngineFixture {
    let engine: Engine
    let log = EventLog()
    let probe = FakeForwardPass.Probe()

    init(
        blocks: Int = 256, contextLength: Int = 512, rows: Int = 64, memory: Int = .max, rules: StopRules = StopRules(),
        scheduler: SchedulerConfiguration = SchedulerConfiguration(),
        speculation: SpeculationConfiguration = SpeculationConfiguration(), draftPass: sending FakeForwardPass? = nil,
        swapBytes: Int = 0,
        onRun: @escaping FakeForwardPass.OnRun = { (_, _) throws(EngineError) in }
    ) throws {
        var configuration = EngineConfiguration(scheduler: scheduler, speculation: speculation)
        configuration.swapBytes = swapBytes
        engine = try Engine(
            pass: FakeForwardPass(
                blocks: blocks, contextLength: contextLength, maxRows: rows, memory: memory, probe: probe, onRun: onRun),
            draftPass: draftPass, rules: rules, configuration: configuration,
            onStep: { [log] in log.append($0) })
    }

    /// Submits, waits for all ends.
    func run(_ requests: [GenerationRequest]) async throws {
        for request in requests { try engine.submit(request) }
        await log.waitForEnd(of: requests.map(\.id))
    }

    /// Requests of all kinds: lengths, classes, samplings.
    static func mixed(_ count: Int, seed: UInt64, longest: Int = 120) -> [GenerationRequest] {
        var random = SeededGenerator(seed: seed)
        return (1...UInt64(count)).map { id in
            let prompt = (0..<Int.random(in: 1...longest, using: &random)).map { _ in
                Int32.random(in: 0..<97, using: &random)
            }
            return GenerationRequest(
                id: id, prompt: prompt, maxTokens: Int.random(in: 1...40, using: &random),
                sampling: SamplingParameters(
                    temperature: [0, 0.7, 1.5].randomElement(using: &random) ?? 0,
                    topK: [0, 5, 40].randomElement(using: &random) ?? 0,
                    topP: [1, 0.9].randomElement(using: &random) ?? 1,
                    repetitionPenalty: [1, 1.2].randomElement(using: &random) ?? 1,
                    frequencyPenalty: [0, 0.5].randomElement(using: &random) ?? 0, seed: random.next()),
                priority: RequestPriority.allCases.randomElement(using: &random) ?? .chat)
        }
    }
}

/// Lets a forward pass's callback reach the engine that runs it.
final class EngineReference: @unchecked Sendable {  // guarded by `lock`
    private let lock = NSLock()
    private var stored: Engine?

    func set(_ engine: Engine) {
        lock.withLock { stored = engine }
    }

    var engine: Engine? { lock.withLock { stored } }
    func clear() { lock.withLock { stored = nil } }
}

/// Finds stop texts where a token is one Unicode scalar.
struct ScalarStopDetector: StopDetector {
    let stops: [[UInt32]]
    var text: [UInt32] = []

    init(_ stops: [String]) { self.stops = stops.map { $0.unicodeScalars.map(\.value) } }

    mutating func completesStop(_ token: Int32) -> Bool {
        text.append(UInt32(bitPattern: token))
        return stops.contains { text.suffix($0.count).elementsEqual($0) }
    }
}
