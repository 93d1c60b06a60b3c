import AsyncHTTPClient
import ChatClient
import ChatCore
import Foundation
import NIOCore
import ServiceHarness

/// A client that does not give up: it asks again at another gateway, under the same idempotency key, and goes on with a
/// stream after the last token that it has seen.
struct DrillClient: Sendable {
    let doors: [Door]
    /// Silence of a stream for which its connection is given up: three of the gateway's heartbeats.
    static let silence: TimeAmount = .seconds(3)
    /// Of this run of the drill, in idempotency keys.
    var run: String
    /// No turn may take longer than to here.
    let patience: ContinuousClock.Instant
    /// With a limit on silence, for what has a heartbeat or is answered at once.
    let quick: HTTPClient
    /// For whole answers.
    let slow: HTTPClient

    struct GaveUp: Error {}

    static func clients() -> (quick: HTTPClient, slow: HTTPClient) {
        func client(_ silence: TimeAmount) -> HTTPClient {
            var configuration = HTTPClient.Configuration()
            configuration.timeout = .init(connect: .seconds(2), read: silence)
            configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 256
            return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        }
        return (client(silence), client(.seconds(60)))
    }

    // MARK: Begin

    /// Asks for a stream or an asynchronous turn until a gateway has accepted it.
    /// - Throws: `GaveUp` when that cannot be; the record says why.
    func begin(_ record: inout TurnRecord, conversation: Int64?) async throws {
        let path = record.planned.kind == .batch ? "/async-chat" : "/stream-chat"
        let accepted = record.planned.kind == .batch ? 202 : 200
        let body = try Self.body(record, conversation: conversation)
        let answer = try await insist(&record, path: path, body: body, key: "", over: quick)
        guard answer.status == accepted, let id = answer.json["correlation_id"] as? String else {
            record.violate("\(path) was answered \(answer.status): \(answer.text)")
            throw GaveUp()
        }
        record.ids.append(id)
    }

    /// Asks for a whole answer. A chat whose connection is lost is cancelled; then it is asked anew.
    func chat(_ record: inout TurnRecord, conversation: Int64?) async throws {
        let body = try Self.body(record, conversation: conversation)
        for attempt in 0... {
            let repeatedBefore = record.repeated
            let answer = try await insist(&record, path: "/chat", body: body, key: "-\(attempt)", over: slow)
            if let id = answer.headers["x-correlation-id"] { record.ids.append(id) }
            switch answer.status {
            case 200:
                record.text = answer.json["response"] as? String
                record.conversation = answer.json["conversation_id"] as? Int64
                return
            case 409 where record.repeated > repeatedBefore:
                if let id = answer.headers["x-correlation-id"] { record.cancelled.insert(id) }
            default:
                record.violate("/chat was answered \(answer.status): \(answer.text)")
                throw GaveUp()
            }
        }
    }

    private static func body(_ record: TurnRecord, conversation: Int64?) throws -> [UInt8] {
        var body: [String: Any] = [
            "message": record.planned.message, "user_id": record.user, "max_tokens": record.planned.maxTokens,
            "temperature": record.planned.temperature, "seed": record.planned.seed,
        ]
        if let conversation { body["conversation_id"] = conversation }
        return Array(try JSONSerialization.data(withJSONObject: body, options: .sortedKeys))
    }

    /// Repeats a POST until it is answered with something else than "later".
    private func insist(
        _ record: inout TurnRecord, path: String, body: [UInt8], key: String, over client: HTTPClient
    ) async throws -> HTTPAnswer {
        var door = record.planned.index
        while true {
            try checkPatience(&record, "was not accepted")
            do {
                let request = self.door(door).request(
                    "POST", path, body: body,
                    headers: ["Idempotency-Key": "\(run)-\(record.planned.index)\(key)"])
                let answer = try await answer(request, over: client)
                guard answer.status == 503 || answer.status == 429 else { return answer }
                record.refused += 1
                let seconds = Double(answer.headers["retry-after"] ?? "") ?? 1
                try await Task.sleep(for: .seconds(min(3, seconds)))
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                record.repeated += 1
                door += 1
                try await pause()
            }
        }
    }

    // MARK: Follow

    /// Follows a stream to its end, from gateway to gateway.
    /// - Parameters:
    ///   - cancels: whether the turn is cancelled where the plan says so.
    ///   - onEvent: called after each event.
    func follow(_ record: inout TurnRecord, cancels: Bool, onEvent: @Sendable () -> Void = {}) async throws {
        guard let id = record.ids.last else { return }
        let first = record.planned.index
        var cancellation: Task<Void, Never>?
        defer { cancellation?.cancel() }
        var configuration = ChatClient.Configuration(gateways: doors.map(\.url), apiKey: doors.first?.key ?? "")
        configuration.reconnection.cap = .seconds(1)
        let chat = try ChatClient(configuration, http: quick, first: record.planned.index)
        while record.end == nil {
            try checkPatience(&record, "did not end in time")
            do {
                let followed = try await chat.follow(id, from: record.tokens?.count ?? 0) { event in
                    guard ContinuousClock.now < patience else { throw GaveUp() }
                    record.hear(event, now: .now)
                    onEvent()
                    if cancels, cancellation == nil, let bound = record.planned.cancelledAfter,
                        record.tokens?.count ?? 0 >= bound
                    {
                        record.isCancelled = true
                        cancellation = Task { await cancel(id, first: first) }
                    }
                }
                record.end(followed, now: .now)
            } catch ChatClientError.refused(let refusal) {
                record.violate("/stream was answered \(refusal.status): \(refusal.message)")
                try await Task.sleep(for: .milliseconds(500))
            } catch ChatClientError.unreachable {
                continue
            } catch is GaveUp {
                continue
            }
        }
    }

    /// Asks for a turn's cancellation until a gateway has heard it.
    private func cancel(_ id: String, first: Int) async {
        var door = first
        while ContinuousClock.now < patience, !Task.isCancelled {
            let answer = try? await answer(self.door(door).request("DELETE", "/stream/\(id)", body: nil), over: quick)
            if let answer, answer.status == 200 || answer.status == 202 { return }
            door += 1
            try? await pause()
        }
    }

    /// Asks for an asynchronous turn's answer until it is there.
    func collect(_ record: inout TurnRecord) async throws {
        guard let id = record.ids.last else { return }
        var door = record.planned.index
        while true {
            try checkPatience(&record, "did not end in time")
            do {
                let answer = try await answer(
                    self.door(door).request("GET", "/check-response/\(id)", body: nil), over: quick)
                switch answer.status {
                case 200:
                    record.text = answer.json["response"] as? String
                    record.conversation = answer.json["conversation_id"] as? Int64
                    return
                case 202: try await Task.sleep(for: .milliseconds(250))
                case 503:
                    record.refused += 1
                    try await Task.sleep(for: .milliseconds(500))
                case 404:
                    record.violate("/check-response was answered 404")
                    try await Task.sleep(for: .milliseconds(500))
                default:
                    record.violate("/check-response was answered \(answer.status): \(answer.text)")
                    throw GaveUp()
                }
            } catch let error where !(error is CancellationError || error is GaveUp) {
                door += 1
                try await pause()
            }
        }
    }

    // MARK: Common

    private func door(_ index: Int) -> Door { doors[index % doors.count] }

    private func answer(_ request: HTTPClientRequest, over client: HTTPClient) async throws -> HTTPAnswer {
        let response = try await client.execute(request, timeout: .minutes(5))
        return HTTPAnswer(response, body: try await response.body.collect(upTo: 16 << 20))
    }

    private func pause() async throws {
        try await Task.sleep(for: .milliseconds(Int.random(in: 20...200)))
    }

    private func checkPatience(_ record: inout TurnRecord, _ what: String) throws {
        guard ContinuousClock.now >= patience else { return }
        record.violate(what)
        throw GaveUp()
    }
}
