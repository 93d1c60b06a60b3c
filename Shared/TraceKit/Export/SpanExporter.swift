import AsyncHTTPClient
import Foundation
import Logging
import Metrics
import NIOCore
import ServiceKit
import ServiceLifecycle

/// Sends spans that have ended to a collector, in batches, over OTLP/HTTP. Whoever ends a span never waits for it: what
/// finds no room, or cannot be delivered within some tries, is dropped and counted.
final class SpanExporter: Service {
    struct Limits {
        /// Spans that wait; the next one is dropped.
        var waiting = 8192
        var batch = 512
        /// How long spans are collected before they are sent.
        var interval: Duration = .seconds(1)
        /// One try, from connecting to the answer's last byte.
        var timeout: Duration = .seconds(5)
        var tries = 4
        var backoff = Backoff(base: .milliseconds(500), cap: .seconds(5))
        /// For what is left when the process stops.
        var farewell: Duration = .seconds(3)
        static let answerBytes = 64 << 10
    }

    private let endpoint: OTLPEndpoint
    private let resource: OTLPRequest.Resource
    private let limits: Limits
    private let logger: Logger
    private let ended: Mailbox<FinishedSpan>
    private let encoding = DispatchQueue(label: "spans", qos: .utility)
    private let counts: ExportCounts

    init(
        endpoint: OTLPEndpoint, resource: OTLPRequest.Resource, limits: Limits = Limits(),
        counts: ExportCounts, logger: Logger
    ) {
        self.counts = counts
        self.endpoint = endpoint
        self.resource = resource
        self.limits = limits
        self.logger = logger
        ended = Mailbox(capacity: limits.waiting)
    }

    func take(_ span: FinishedSpan) {
        if !ended.send(span) { counts.drop(1, .noRoom) }
    }

    func run() async throws {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(connect: .milliseconds(Int64(limits.timeout / .milliseconds(1)))))
        configuration.httpVersion = .http1Only
        // An export that is traced would be exported, and so on.
        configuration.tracing.tracer = nil
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let sending = Task { await self.send(by: client) }
        try? await gracefulShutdown()
        // Whatever makes spans has stopped by now.
        ended.close()
        let patience = Task {
            try? await Task.sleep(for: limits.farewell)
            sending.cancel()
        }
        await sending.value
        patience.cancel()
        try? await client.shutdown()
    }

    private func send(by client: HTTPClient) async {
        var health = Health(logger: logger)
        while let first = await ended.receive() {
            var rest = first.elements[...]
            while !rest.isEmpty {
                let batch = Array(rest.prefix(limits.batch))
                rest = rest.dropFirst(batch.count)
                health.note(await deliver(batch, by: client))
            }
            // Nothing wakes this up for each span: what ends meanwhile waits in the mailbox.
            if !Task.isShuttingDownGracefully { try? await Task.sleep(for: limits.interval) }
        }
    }

    /// - Returns: why the batch was dropped; nil when it was not.
    private func deliver(_ batch: [FinishedSpan], by client: HTTPClient) async -> String? {
        guard let body = await encoded(batch) else {
            counts.drop(batch.count, .refused)
            return "spans cannot be encoded"
        }
        var backoff = limits.backoff
        var reason = ""
        for number in 1...limits.tries {
            switch await attempt(body, by: client) {
            case .taken(let rejected):
                counts.exported(batch.count - min(rejected, batch.count))
                if rejected > 0 { counts.drop(min(rejected, batch.count), .refused) }
                return rejected > 0 ? "the collector rejected \(rejected) spans" : nil
            case .refused(let status):
                counts.drop(batch.count, .refused)
                return "the collector answered \(status)"
            case .passing(let why): reason = why
            }
            guard number < limits.tries, (try? await Task.sleep(for: backoff.next())) != nil else { break }
        }
        counts.drop(batch.count, .unreachable)
        return reason
    }

    /// On a thread of its own: hundreds of spans take milliseconds, which turns would wait for.
    private func encoded(_ batch: [FinishedSpan]) async -> [UInt8]? {
        await withCheckedContinuation { continuation in
            encoding.async { [resource] in
                continuation.resume(returning: try? OTLPRequest(batch, resource: resource).encoded())
            }
        }
    }

    private enum Answer {
        /// Some of the spans may have been rejected all the same.
        case taken(rejected: Int)
        case refused(UInt)
        /// It may work later.
        case passing(String)
    }

    private func attempt(_ body: [UInt8], by client: HTTPClient) async -> Answer {
        var request = HTTPClientRequest(url: endpoint.url)
        request.method = .POST
        for (name, value) in endpoint.headers { request.headers.replaceOrAdd(name: name, value: value) }
        request.headers.replaceOrAdd(name: "Content-Type", value: "application/json")
        request.body = .bytes(body)
        do {
            return try await within(limits.timeout) { [request] in
                let response = try await client.execute(request, deadline: .distantFuture)
                let text = try? await response.body.collect(upTo: Limits.answerBytes)
                switch response.status.code {
                case 200..<300: return .taken(rejected: PartialSuccess.rejected(in: text))
                // These four are what OTLP asks to repeat.
                case 429, 502, 503, 504: return .passing("the collector answered \(response.status.code)")
                default: return .refused(response.status.code)
                }
            }
        } catch is CancellationError {
            return .passing("the collector did not answer in time")
        } catch {
            return .passing("the collector cannot be reached: \(error)")
        }
    }

    private func within<Result: Sendable>(
        _ time: Duration, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: time)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let result = first else { throw CancellationError() }
            return result
        }
    }

    /// Says when export begins to fail and when it works again, not each time.
    private struct Health {
        let logger: Logger
        var isFailing = false

        mutating func note(_ reason: String?) {
            if let reason, !isFailing {
                logger.warning("spans are dropped", metadata: ["reason": "\(reason)"])
            } else if reason == nil, isFailing {
                logger.notice("spans are exported again")
            }
            isFailing = reason != nil
        }
    }
}

/// What a collector says when it takes a request but not all of it.
private struct PartialSuccess: Decodable {
    struct Part: Decodable { let rejectedSpans: Number? }
    let partialSuccess: Part?

    /// A 64-bit number, which OTLP writes as text and takes either way.
    struct Number: Decodable {
        let value: Int64

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int64.self) {
                value = number
            } else {
                value = Int64(try container.decode(String.self)) ?? 0
            }
        }
    }

    static func rejected(in body: ByteBuffer?) -> Int {
        guard let body, let answer = try? JSONDecoder().decode(PartialSuccess.self, from: Data(body.readableBytesView))
        else { return 0 }
        return Int(clamping: max(0, answer.partialSuccess?.rejectedSpans?.value ?? 0))
    }
}

/// What became of spans, as metrics.
struct ExportCounts: Sendable {
    enum Loss: String, CaseIterable { case noRoom = "no_room", refused, unreachable }

    private let taken: Counter
    private let lost: [Loss: Counter]

    init(_ factory: any MetricsFactory) {
        taken = Measures.spansExported(factory: factory)
        lost = Dictionary(
            uniqueKeysWithValues: Loss.allCases.map { ($0, Measures.spansDropped($0.rawValue, factory: factory)) })
    }

    func exported(_ count: Int) { taken.increment(by: count) }
    func drop(_ count: Int, _ loss: Loss) { lost[loss]?.increment(by: count) }
}
