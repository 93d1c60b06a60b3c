import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Synchronization

/// A collector of spans over OTLP/HTTP, for tests: keeps what it is sent, and answers what it is told to.
public final class SpanCollector: Sendable {
    public struct Answer: Sendable {
        public let status: Int
        public let body: String

        public init(_ status: Int, body: String = "{}") {
            self.status = status
            self.body = body
        }
    }

    fileprivate struct State {
        var spans: [CollectedSpan] = []
        var requests = 0
        var headers: [String: String] = [:]
        var answers: [Answer] = []
        var malformed: [String] = []
    }

    public let port: Int
    private let state: Keeper
    private let server: Task<Void, any Error>

    private final class Keeper: Sendable { let value = Mutex(State()) }

    /// - Parameters:
    ///   - port: 0 takes a free one.
    ///   - answers: to the first requests, in this order; those after them are taken with 200.
    public init(port: Int = 0, answers: [Answer] = []) async throws {
        let keeper = Keeper()
        keeper.value.withLock { $0.answers = answers }
        let router = Router()
        router.post("/v1/traces") { request, _ in
            let body = try await request.body.collect(upTo: 16 << 20)
            let answer = keeper.value.withLock { $0.take(request.headers, Data(body.readableBytesView)) }
            return Response(
                status: .init(code: answer.status), body: .init(byteBuffer: ByteBuffer(string: answer.body)))
        }
        let (ports, found) = AsyncStream.makeStream(of: Int.self)
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: port)),
            onServerRunning: { channel in found.yield(channel.localAddress?.port ?? 0) },
            logger: Logger(label: "collector") { _ in SwiftLogNoOpLogHandler() })
        let server = Task {
            defer { found.finish() }
            try await application.run()
        }
        var taken: Int?
        for await port in ports {
            taken = port
            break
        }
        guard let taken else {
            try await server.value
            throw HarnessError("the collector did not start")
        }
        (self.port, self.server, state) = (taken, server, keeper)
    }

    public var endpoint: String { "http://127.0.0.1:\(port)" }
    public var spans: [CollectedSpan] { state.value.withLock { $0.spans } }
    public var requests: Int { state.value.withLock { $0.requests } }
    /// Of the last request, their names in lower case.
    public var headers: [String: String] { state.value.withLock { $0.headers } }
    /// Bodies that could not be read.
    public var malformed: [String] { state.value.withLock { $0.malformed } }

    public func spans(of trace: String) -> [CollectedSpan] { spans.filter { $0.traceId == trace } }

    public func stop() async {
        server.cancel()
        _ = await server.result
    }
}

extension SpanCollector.State {
    fileprivate mutating func take(_ fields: HTTPFields, _ body: Data) -> SpanCollector.Answer {
        requests += 1
        headers = Dictionary(fields.map { ($0.name.canonicalName, $0.value) }) { first, _ in first }
        let answer = answers.isEmpty ? SpanCollector.Answer(200) : answers.removeFirst()
        guard answer.status == 200 else { return answer }
        do {
            let batch = try JSONDecoder().decode(CollectedBatch.self, from: body)
            for resource in batch.resourceSpans {
                let service = resource.resource.attributes.first { $0.key == "service.name" }?.value.text ?? ""
                for var span in resource.scopeSpans.flatMap(\.spans) {
                    span.service = service
                    spans.append(span)
                }
            }
        } catch {
            malformed.append("\(error)")
        }
        return answer
    }
}

private struct CollectedBatch: Decodable {
    struct ResourceSpans: Decodable {
        let resource: Resource
        let scopeSpans: [ScopeSpans]
    }
    struct Resource: Decodable { let attributes: [CollectedSpan.Attribute] }
    struct ScopeSpans: Decodable { let spans: [CollectedSpan] }
    let resourceSpans: [ResourceSpans]
}

/// A span as a collector reads it.
public struct CollectedSpan: Sendable, Decodable {
    public struct Attribute: Sendable, Decodable {
        public let key: String
        public let value: Value
    }

    public struct Value: Sendable, Decodable {
        struct List: Sendable, Decodable { let values: [Value] }
        private let stringValue: String?
        private let intValue: String?
        private let boolValue: Bool?
        private let doubleValue: Double?
        private let arrayValue: List?

        /// Whatever it is, as text.
        public var text: String {
            stringValue ?? intValue ?? boolValue.map { "\($0)" } ?? doubleValue.map { "\($0)" }
                ?? arrayValue.map { $0.values.map(\.text).joined(separator: ",") } ?? ""
        }
    }

    public struct Event: Sendable, Decodable {
        public let name: String
        public let attributes: [Attribute]
    }

    public struct Link: Sendable, Decodable {
        public let traceId: String
        public let spanId: String
    }

    public struct Status: Sendable, Decodable {
        public let code: Int
        public let message: String?
    }

    public let traceId: String
    public let spanId: String
    public let parentSpanId: String?
    public let traceState: String?
    public let name: String
    public let kind: Int
    public let startTimeUnixNano: String
    public let endTimeUnixNano: String
    public let events: [Event]
    public let links: [Link]
    public let status: Status?
    private let attributes: [Attribute]
    /// Of whose process it is.
    public var service = ""

    private enum CodingKeys: String, CodingKey {
        case traceId, spanId, parentSpanId, traceState, name, kind, startTimeUnixNano, endTimeUnixNano, events, links,
            status, attributes
    }

    public subscript(key: String) -> String? { attributes.first { $0.key == key }?.value.text }
    public var attributeNames: [String] { attributes.map(\.key) }
    public var hasFailed: Bool { status?.code == 2 }
    public var isWhole: Bool { (UInt64(startTimeUnixNano) ?? .max) <= (UInt64(endTimeUnixNano) ?? 0) }
}
