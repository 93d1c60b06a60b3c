import AsyncHTTPClient
import Foundation
import NIOCore

/// Whoever knows a gateway's port and a key for it can speak to it.
public protocol GatewayClient: Sendable {
    var port: Int { get }
    var key: String { get }
}

/// Another gateway of a cluster than its first.
public struct OtherGateway: GatewayClient {
    public let port: Int
    public let key: String

    public init(port: Int, key: String) {
        self.port = port
        self.key = key
    }
}

public struct HTTPAnswer: Sendable {
    public let status: Int
    /// Their names in lower case.
    public let headers: [String: String]
    public let body: [UInt8]

    public init(_ response: HTTPClientResponse, body: ByteBuffer) {
        status = Int(response.status.code)
        headers = Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }) { first, _ in first }
        self.body = Array(body.readableBytesView)
    }

    public var text: String { String(decoding: body, as: UTF8.self) }
    public var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any]) ?? [:] }
    public var error: [String: Any] { json["error"] as? [String: Any] ?? [:] }
}

extension GatewayClient {
    public func get(_ path: String, key: String? = "", headers: [String: String] = [:]) async throws -> HTTPAnswer {
        try await send("GET", path, body: nil, key: key, headers: headers)
    }

    public func post(_ path: String, _ body: [String: Any], key: String? = "") async throws -> HTTPAnswer {
        try await send("POST", path, body: Array(try JSONSerialization.data(withJSONObject: body)), key: key)
    }

    /// - Parameter key: the empty string stands for the client's own key, nil for none.
    public func send(
        _ method: String, _ path: String, body: [UInt8]?, key: String? = "", headers: [String: String] = [:]
    ) async throws -> HTTPAnswer {
        let response = try await HTTPClient.shared.execute(
            request(method, path, body: body, key: key, headers: headers), timeout: .seconds(60))
        return HTTPAnswer(response, body: try await response.body.collect(upTo: 16 << 20))
    }

    public func request(
        _ method: String, _ path: String, body: [UInt8]?, key: String? = "", headers: [String: String] = [:]
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = .RAW(value: method)
        if let key { request.headers.add(name: "X-API-Key", value: key.isEmpty ? self.key : key) }
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        return request
    }
}
