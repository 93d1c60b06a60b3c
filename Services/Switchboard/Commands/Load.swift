import ArgumentParser
import ChatCore
import Foundation
import ServiceKit

struct Load: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Puts load on gateways, and checks that every stream's tokens come exactly once and in order.",
        discussion: """
            Scenarios: streaming (answers one after the other), users (conversations with pauses between the turns), \
            long-running (long streams whose connections break and are resumed). Without --rate each of --streams \
            clients begins its next turn when its last has ended; with --rate clients arrive at random, whatever became \
            of those before. Ends with status 1 when a turn failed or tokens did not come exactly once. Ctrl-C ends it \
            with what there is.

            The API key is taken from CHAT_API_KEY or from the file that --key-file names.
            """)

    @OptionGroup var access: GatewayOptions

    @Argument(help: "streaming, users or long-running.")
    var scenario = Scenario.streaming

    @Option(help: "Turns that are open at a time.")
    var streams: Int?

    @Option(help: "Turns (of `conversation`: conversations) that begin each second.")
    var rate: Double?

    @Option(help: "Time in which turns are begun: 30s, 5m.")
    var duration: Duration?

    @Option(help: "Time in which the clients arrive, without --rate. (default: 1s for every 500)")
    var ramp: Duration?

    @Option(help: "Time that open turns have to end in when --duration is over; the rest is cut.")
    var drain: Duration = .seconds(30)

    @Option(help: "Pause between a client's turns, at the mean.")
    var think: Duration?

    @Option(help: "Tokens of an answer, at most.")
    var maxTokens: Int?

    @Option(help: "The mix of prompts, such as short=70,long=10,shared=15,conversation=5.")
    var prompts: String?

    @Option(help: "A file of prompts, one on each line; the mix calls them `file`.")
    var promptFile: String?

    @Option(help: "Streams that drop their connection and resume: a share (10%) or the time between (30s).")
    var reconnects: String?

    @Option(help: "What is sent: stream (followed), begin (a stream that nobody follows), async.")
    var kind = LoadPlan.Kind.stream

    @Option(help: "Users that the turns belong to. (default: one for each stream, or for each turn a second)")
    var users: Int?

    @Option(help: "Repeats prompts and times.")
    var seed: UInt64?

    @Option(help: "Certificates to trust with https, as a PEM file. (default: the system's)")
    var caFile: String?

    @Flag(help: "Prints one JSON object in place of the table.")
    var json = false

    @Flag(help: "Says nothing while it runs.")
    var quiet = false

    @Flag(help: "Allows gateways that are not this machine.")
    var allowRemote = false

    func run() async throws {
        let settings = try Settings(environment: ProcessInfo.processInfo.environment)
        let plan: LoadPlan
        do { plan = try self.plan(settings) } catch let error as LoadError { throw ValidationError("\(error)") }
        var runner = LoadRunner(plan: plan)
        let printer = ProgressPrinter(isTerminal: isatty(STDERR_FILENO) == 1)
        if !quiet { runner.report = { printer.show($0) } }
        let report: LoadReport
        do { report = try await runner.run() } catch let error as LoadError { throw ValidationError("\(error)") }
        if !quiet { printer.end() }
        print(json ? try report.json() : report.table)
        if !report.record.isClean { throw ExitCode(1) }
    }

    /// - Throws: `LoadError` that names the option at fault.
    func plan(_ settings: Settings) throws -> LoadPlan {
        let gateways = try access.gateways(settings).map { text throws(LoadError) in try GatewayAddress(text) }
        let streams = streams ?? (rate == nil ? scenario.streams : LoadPlan.defaultOpen)
        let reconnects = try self.reconnects.map { text throws(LoadError) in
            guard let plan = ReconnectPlan(text) else {
                throw .invalid(option: "--reconnects", "must be a share such as 10% or a time such as 30s")
            }
            return plan
        }
        let lines = try promptFile.map(promptLines) ?? []
        let mix = try PromptMix(prompts ?? (lines.isEmpty ? scenario.prompts : PromptMix.Kind.file.rawValue))
        var plan = LoadPlan(
            gateways: gateways, apiKey: try access.key(settings), kind: kind,
            arrivals: rate.map { .rate(perSecond: $0) }
                ?? .clients(streams, over: ramp ?? .milliseconds(2 * Int64(clamping: streams))),
            streams: streams, duration: duration ?? scenario.duration, drain: drain,
            thinking: think ?? scenario.thinking,
            users: users ?? max(1, rate.flatMap { Int(exactly: $0.rounded(.up)) } ?? streams),
            maxTokens: maxTokens ?? scenario.maxTokens, mix: mix, prompts: lines,
            reconnects: reconnects ?? scenario.reconnects, seed: seed ?? .random(in: 0...(1 << 53)))
        plan.trustedCertificates = caFile
        try plan.check(allowRemote: allowRemote)
        return plan
    }

    private func promptLines(_ path: String) throws -> [String] {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw LoadError.invalid(option: "--prompt-file", "cannot be read")
        }
        let lines = text.split(whereSeparator: \.isNewline).map(String.init)
        guard !lines.isEmpty else { throw LoadError.invalid(option: "--prompt-file", "has no line") }
        return lines
    }
}

extension LoadPlan.Kind: ExpressibleByArgument {}

extension Duration: @retroactive ExpressibleByArgument {
    public init?(argument: String) { self.init(written: argument) }
}

/// Says on the standard error how a run stands: a terminal every second, a file every ten.
private struct ProgressPrinter: Sendable {
    let isTerminal: Bool
    private static let interval = 10

    func show(_ progress: LoadProgress) {
        let second = Int(progress.time / .seconds(1))
        guard isTerminal || second % ProgressPrinter.interval == 0 else { return }
        let line =
            "\(second) s  \(progress.open) open  \(progress.streams) streams  \(progress.ended) done  "
            + "\(Int(progress.tokensPerSecond.rounded())) tokens/s  \(progress.errors) errors"
            + (progress.violations > 0 ? "  \(progress.violations) VIOLATIONS" : "")
            + (progress.isDraining ? "  (draining)" : "")
        FileHandle.standardError.write(Data((isTerminal ? "\r\u{1b}[K\(line)" : "\(line)\n").utf8))
    }

    func end() {
        if isTerminal { FileHandle.standardError.write(Data("\r\u{1b}[K".utf8)) }
    }
}
