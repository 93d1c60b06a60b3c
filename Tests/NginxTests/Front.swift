import AsyncHTTPClient
import Foundation
import NIOCore
import ServiceHarness
import TestServers

/// An nginx of a test's own before gateways, and clients of it.
struct Front: GatewayClient {
    let nginx: ServerHandle<NginxEndpoint>
    /// The port without TLS.
    var port: Int { nginx.endpoint.port }
    let key = "sb_key"

    /// Starts nginx, hands it over, and stops it whatever came of that.
    static func with(
        _ gateways: [ScriptedGateway], _ settings: [String: String] = [:], programs: String? = nil,
        _ body: (Front) async throws -> Void
    ) async throws {
        let front = Front(
            nginx: try await TestServers.startNginx(
                gateways: gateways.map(\.port), settings: settings, programs: programs))
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(front)) } catch { outcome = .failure(error) }
        try await front.nginx.stop()
        for gateway in gateways { await gateway.stop() }
        try outcome.get()
    }

    /// Another certificate, signed by itself.
    static func makeCertificate(in folder: String) async throws {
        let made = try await Program.run(TestServers.repository + "/nginx/make-certificate", [folder])
        guard made.status == 0 else { throw HarnessError(made.text) }
    }

    /// Without TLS, for whoever reads the answer as it comes.
    func execute(_ method: String, _ path: String) async throws -> HTTPClientResponse {
        try await HTTPClient.shared.execute(request(method, path, body: nil), timeout: .seconds(60))
    }

    /// A client over TLS and, unless told otherwise, HTTP/2.
    func withSecureClient(
        _ change: (inout HTTPClient.Configuration) -> Void = { _ in }, _ body: (SecureClient) async throws -> Void
    ) async throws {
        var configuration = HTTPClient.Configuration.trusting(nginx.endpoint.certificatePath)
        change(&configuration)
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        do {
            try await body(SecureClient(http: http, port: nginx.endpoint.tlsPort))
        } catch {
            try? await http.shutdown()
            throw error
        }
        try await http.shutdown()
    }

    /// The most that nginx and its workers have had resident so far, in bytes; what they share is counted for each.
    func peakMemory() throws -> Int {
        let text = try String(contentsOfFile: nginx.path + "/run/nginx.pid", encoding: .utf8)
        guard let master = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            throw HarnessError("nginx.pid: \(text)")
        }
        return ([master] + ProcessStatus.children(of: master)).reduce(0) {
            $0 + (ProcessStatus($1)?.bytes("VmHWM") ?? 0)
        }
    }

    /// Bytes as they are, without a client library: what is sent, and what came until it held `mark`.
    func converse(_ turns: [(send: String, until: String)], port: Int? = nil) async throws -> [String] {
        let port = port ?? self.port
        return try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Result { try RawSocket.converse(turns, port: port) })
            }
        }
    }
}

struct SecureClient {
    let http: HTTPClient
    let port: Int

    func execute(
        _ method: String, _ path: String, headers: [(String, String)] = [], body: String? = nil
    ) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: "https://localhost:\(port)\(path)")
        request.method = .RAW(value: method)
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let body { request.body = .bytes(ByteBuffer(string: body)) }
        return try await http.execute(request, timeout: .seconds(60))
    }
}

private enum RawSocket {
    static func converse(_ turns: [(send: String, until: String)], port: Int) throws -> [String] {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr = in_addr(s_addr: UInt32(0x7f00_0001).bigEndian)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw HarnessError("nobody listens on \(port)") }
        return try turns.map { turn in
            let bytes = Array(turn.send.utf8)
            guard send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
                throw HarnessError("the connection is closed")
            }
            var heard = ""
            var buffer = [UInt8](repeating: 0, count: 4096)
            while !heard.contains(turn.until) {
                let count = recv(socket, &buffer, buffer.count, 0)
                guard count > 0 else { throw HarnessError("instead of \(turn.until): \(heard)") }
                heard += String(decoding: buffer[..<count], as: UTF8.self)
            }
            return heard
        }
    }
}
