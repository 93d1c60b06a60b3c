import AsyncHTTPClient
import Foundation
import NIOCore

/// What a client has read of a turn's server-sent events.
public struct ReadStream: Sendable {
    public struct Event: Sendable, Equatable {
        public let id: Int?
        public let token: String
    }

    public var events: [Event] = []
    /// Where the turn stood while it waited.
    public var waits: [WaitEvent] = []
    /// The last event's JSON, when the turn has ended.
    public var end: EndEvent?
    public var isDone = false

    public var text: String { events.map(\.token).joined() }
    public var ids: [Int] { events.compactMap(\.id) }

    public init() {}
}

public struct WaitEvent: Sendable, Decodable, Equatable {
    public let place: Int
    public let estimated_seconds: Double?
}

public struct EndEvent: Sendable, Decodable, Equatable {
    public struct Usage: Sendable, Decodable, Equatable {
        public let prompt_tokens: Int
        public let completion_tokens: Int
    }

    public let done: Bool
    public let status: String
    public let finish_reason: String
    public let conversation_id: Int64
    public let usage: Usage
    public let error: Failure?
    public let model: String?
    public let degradation: Degradation?

    public struct Degradation: Sendable, Decodable, Equatable {
        public let steps: [String]
        public let context_tokens: Int?
        public let requested_max_tokens: Int?
        public let requested_model: String?
    }

    public struct Failure: Sendable, Decodable, Equatable {
        public let code: String
        public let message: String
    }
}

extension GatewayClient {
    /// Reads a stream to its end, or until `mayStop` is content; then the connection is dropped.
    public func stream(
        _ id: String, lastEventID: Int? = nil, key: String? = "", until mayStop: (ReadStream) -> Bool = { _ in false }
    ) async throws -> ReadStream {
        // A client of its own, whose shutdown certainly closes the connection: leaving is what some tests are about.
        let client = HTTPClient(eventLoopGroupProvider: .singleton)
        do {
            let read = try await stream(id, lastEventID: lastEventID, key: key, until: mayStop, over: client)
            try await client.shutdown()
            return read
        } catch {
            try? await client.shutdown()
            throw error
        }
    }

    private func stream(
        _ id: String, lastEventID: Int?, key: String?, until mayStop: (ReadStream) -> Bool, over client: HTTPClient
    ) async throws -> ReadStream {
        let headers = lastEventID.map { ["Last-Event-ID": "\($0)"] } ?? [:]
        let response = try await client.execute(
            request("GET", "/stream/\(id)", body: nil, key: key, headers: headers), timeout: .seconds(120))
        guard response.status == .ok else {
            throw HarnessError("\(response.status): \(String(buffer: try await response.body.collect(upTo: 1 << 20)))")
        }
        var read = ReadStream()
        var pending = ""
        for try await part in response.body {
            pending += String(buffer: part)
            while let boundary = pending.range(of: "\n\n") {
                try read.take(String(pending[..<boundary.lowerBound]))
                pending.removeSubrange(..<boundary.upperBound)
                if mayStop(read) { return read }
            }
        }
        return read
    }

    /// Begins a stream and returns its id.
    public func beginStream(_ body: [String: Any]) async throws -> String {
        let answer = try await post("/stream-chat", body)
        guard answer.status == 200, let id = answer.json["correlation_id"] as? String else {
            throw HarnessError("\(answer.status): \(answer.text)")
        }
        return id
    }
}

extension ReadStream {
    /// Takes one event, without the empty line that ends it. Named events are news of waiting, not of the turn.
    public mutating func take(_ event: String) throws {
        let lines = event.split(separator: "\n")
        let name = lines.first { $0.hasPrefix("event: ") }?.dropFirst(7)
        var id: Int?
        for line in lines {
            if line.hasPrefix("id: ") { id = Int(line.dropFirst(4)) }
            guard line.hasPrefix("data: ") else { continue }
            let data = line.dropFirst(6)
            if let name {
                if name == "queue" { waits.append(try JSONDecoder().decode(WaitEvent.self, from: Data(data.utf8))) }
                continue
            }
            if data == "[DONE]" {
                isDone = true
            } else if let end = try? JSONDecoder().decode(EndEvent.self, from: Data(data.utf8)), end.done {
                self.end = end
            } else {
                struct Token: Decodable { let token: String; let done: Bool }
                events.append(Event(id: id, token: try JSONDecoder().decode(Token.self, from: Data(data.utf8)).token))
            }
        }
    }
}
