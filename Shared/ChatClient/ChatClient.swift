import AsyncHTTPClient
import Foundation
import NIOCore
import ServiceKit
import Synchronization

/// A client of the API that knows several gateways and goes on at another when one dies.
///
/// The HTTP client beneath is the caller's, so that many of these share its connections and one shutdown closes all.
public final class ChatClient: Sendable {
    public struct Configuration: Sendable {
        /// Base URLs, such as `http://127.0.0.1:8080`; at least one.
        public var gateways: [String]
        public var apiKey: String
        public var reconnection = Reconnection.Policy()
        /// Time for one attempt at a request that is answered at once.
        public var requestTimeout: Duration = .seconds(10)

        public init(gateways: [String], apiKey: String) {
            self.gateways = gateways
            self.apiKey = apiKey
        }
    }

    /// An answer that is not a stream.
    public struct Answer: Sendable {
        public let status: Int
        public let body: [UInt8]
        /// The gateway that gave it.
        public let gateway: String
        let retryAfter: String?
    }

    /// Bytes of an answer that is not a stream, at most.
    static let maximumAnswerBytes = 16 << 20

    public let configuration: Configuration
    let http: HTTPClient
    /// The gateway that answered last; where the next request goes first.
    let preferred = Atomic<Int>(0)
    private let start = ContinuousClock.now

    /// - Parameter first: the index of the gateway to begin with.
    public init(_ configuration: Configuration, http: HTTPClient, first: Int = 0) throws(ChatClientError) {
        var configuration = configuration
        guard !configuration.gateways.isEmpty else { throw .invalid("no gateway is named") }
        configuration.gateways = try configuration.gateways.map { text throws(ChatClientError) in
            guard let url = URL(string: text), ["http", "https"].contains(url.scheme), url.host?.isEmpty == false else {
                throw .invalid("\(text.prefix(100)) is not the URL of a gateway, such as http://127.0.0.1:8080")
            }
            return text.hasSuffix("/") ? String(text.dropLast()) : text
        }
        self.configuration = configuration
        self.http = http
        preferred.store(max(0, first) % configuration.gateways.count, ordering: .relaxed)
    }

    /// - Parameters:
    ///   - silence: a connection on which nothing comes for this long is given up. Gateways send a comment every
    ///     `GATEWAY_HEARTBEAT`; three of these are a good value.
    ///   - connections: open at a time for each gateway; a stream takes one for as long as it lasts.
    public static func http(silence: Duration = .seconds(45), connections: Int = 8) -> HTTPClient {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(2)
        configuration.timeout.read = .milliseconds(Int64(silence / .milliseconds(1)))
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        // Trying again, elsewhere, is this client's own business.
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Begins a turn of which the tokens are followed.
    /// - Parameters:
    ///   - key: the same key for the same request gives the same turn: an attempt whose answer was lost is
    ///     repeated safely.
    ///   - onLoss: told of every attempt that came to nothing, before the pause that follows it.
    /// - Returns: the turn's id.
    public func begin(
        _ request: ChatRequest, path: String = "/stream-chat", idempotencyKey key: String = UUID().uuidString,
        onLoss: @Sendable (Loss) async -> Void = { _ in }
    ) async throws -> String {
        struct Begun: Decodable {
            let id: String
            enum CodingKeys: String, CodingKey { case id = "correlation_id" }
        }
        let body: [UInt8]
        do { body = Array(try JSONEncoder().encode(request)) } catch {
            throw ChatClientError.invalid("the request cannot be written: \(error)")
        }
        let answer = try await send("POST", path, body: body, headers: ["Idempotency-Key": key], onLoss: onLoss)
        guard (200..<300).contains(answer.status) else { throw ChatClientError(answer) }
        guard let begun = try? JSONDecoder().decode(Begun.self, from: Data(answer.body)) else {
            throw ChatClientError.malformed("an accepted turn without correlation_id")
        }
        return begun.id
    }

    /// Asks for a turn's end, whichever way it was begun.
    public func cancel(_ turn: String) async throws {
        let answer = try await send("DELETE", "/stream/\(turn)")
        guard (200..<300).contains(answer.status) else { throw ChatClientError(answer) }
    }

    /// Sends a request to one gateway after the other until one answers it; a gateway that says that something behind
    /// it cannot be reached counts as one that does not, and so does a front that has lost the gateway it asked.
    ///
    /// - Parameter onLoss: told of every attempt that came to nothing, before the pause that follows it.
    /// - Throws: `ChatClientError.unreachable`, `CancellationError`.
    public func send(
        _ method: String, _ path: String, body: [UInt8]? = nil, headers: [String: String] = [:],
        onLoss: @Sendable (Loss) async -> Void = { _ in }
    ) async throws -> Answer {
        let isRepeatable = method != "POST" || headers["Idempotency-Key"] != nil
        var reconnection = self.reconnection()
        while true {
            let failure: Loss
            do {
                let answer = try await attempt(method, path, body, headers, gateway: reconnection.gateway)
                let refusal = ChatClientError.Refusal(answer)
                guard refusal.isPassing(forRepeatable: isRepeatable) else {
                    preferred.store(reconnection.gateway, ordering: .relaxed)
                    return answer
                }
                failure = Loss(reason: refusal.message, retryAfter: refusal.retryAfter)
            } catch {
                try Task.checkCancellation()
                failure = Loss(error)
            }
            try await pause(after: failure, &reconnection) { _, _ in await onLoss(failure) }
        }
    }

    private func attempt(
        _ method: String, _ path: String, _ body: [UInt8]?, _ headers: [String: String], gateway: Int
    ) async throws -> Answer {
        var request = request(method, path, headers: headers, gateway: gateway)
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        let timeout = TimeAmount.milliseconds(Int64(configuration.requestTimeout / .milliseconds(1)))
        let response = try await http.execute(request, timeout: timeout)
        let bytes = try await response.body.collect(upTo: ChatClient.maximumAnswerBytes)
        return Answer(
            status: Int(response.status.code), body: Array(bytes.readableBytesView),
            gateway: configuration.gateways[gateway], retryAfter: response.headers.first(name: "Retry-After"))
    }

    func request(_ method: String, _ path: String, headers: [String: String], gateway: Int) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: configuration.gateways[gateway] + path)
        request.method = .RAW(value: method)
        request.headers.add(name: "X-API-Key", value: configuration.apiKey)
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        return request
    }

    func reconnection() -> Reconnection {
        Reconnection(
            gateways: configuration.gateways.count, first: preferred.load(ordering: .relaxed),
            policy: configuration.reconnection, now: now)
    }

    var now: Duration { start.duration(to: .now) }

    /// Waits as long as the policy says; `report` is told before.
    nonisolated(nonsending) func pause(
        after loss: Loss, _ reconnection: inout Reconnection,
        report: (_ next: String, _ pause: Duration) async throws -> Void
    ) async throws {
        var random = SystemRandomNumberGenerator()
        switch reconnection.lost(loss, at: now, using: &random) {
        case .giveUp:
            throw loss.isMalformed ? ChatClientError.malformed(loss.reason) : .unreachable(loss.reason)
        case .connect(let gateway, let pause):
            try await report(configuration.gateways[gateway], pause)
            try await Task.sleep(for: pause)
        }
    }
}
