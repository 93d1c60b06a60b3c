import AsyncHTTPClient
import Foundation
import NIOCore
import ServiceHarness
import TestServers
import Testing

/// Streams through nginx, and what happens to them when its files change.
struct StreamTests {
    private func streaming() async throws -> ScriptedGateway {
        try await ScriptedGateway { $0.path.hasPrefix("/stream/") ? .stream : .answer(200, "{}") }
    }

    /// Reads a stream until it holds this text.
    private func read(
        _ body: inout HTTPClientResponse.Body.AsyncIterator, until mark: String
    ) async throws -> String {
        var text = ""
        while !text.contains(mark) {
            guard let part = try await body.next() else { throw HarnessError("ended after '\(text)'") }
            text += String(buffer: part)
        }
        return text
    }

    @Test func eventsAreNotHeldBack() async throws {
        let gateway = try await streaming()
        try await Front.with([gateway]) { front in
            try await front.withSecureClient { client in
                let response = try await client.execute("GET", "/stream/1")
                #expect(response.version == .http2 && response.status == .ok)
                var body = response.body.makeAsyncIterator()
                // The gateway says the next event only when the one before has come through: a buffer would hold both up
                // for good.
                #expect(try await read(&body, until: "\n\n") == ": waiting\n\n")
                for index in 0..<5 {
                    gateway.send("id: \(index)\n\n")
                    #expect(try await read(&body, until: "\n\n") == "id: \(index)\n\n")
                }
                gateway.finish()
                #expect(try await body.next() == nil)
            }
        }
    }

    @Test func aReloadLosesNoStream() async throws {
        let first = try await streaming()
        // A name has one port for all its addresses.
        let second = try await ScriptedGateway(host: "127.0.0.2", port: first.port)
        let names = try NameService()
        try names.say(["127.0.0.1"])
        let settings = ["GATEWAY_UPSTREAM": "gateway:\(first.port)", "NGINX_RATE": "0"]
        try await Front.with([first], settings, programs: names.folder) { front in
            try await front.withSecureClient { client in
                var body = try await client.execute("GET", "/stream/1").body.makeAsyncIterator()
                _ = try await read(&body, until: "waiting")
                #expect(try await front.get("/health").status == 200)
                #expect(second.requests.isEmpty)

                try names.say(["127.0.0.1", "127.0.0.2"])
                try await eventually("the new gateway is asked", or: { front.nginx.endpoint.log }) {
                    _ = try await front.get("/health")
                    return !second.requests.isEmpty
                }
                first.send("id: 0\n\n")
                #expect(try await read(&body, until: "\n\n") == "id: 0\n\n")
                try await aNewCertificateIsLoaded(front)
                first.send("id: 1\n\n")
                first.finish()
                #expect(try await read(&body, until: "\n\n") == "id: 1\n\n")
                #expect(try await body.next() == nil)
            }
        }
        await second.stop()
    }

    private func aNewCertificateIsLoaded(_ front: Front) async throws {
        let folder = URL(filePath: front.nginx.endpoint.certificatePath).deletingLastPathComponent()
        let files = FileManager.default
        let old = folder.appending(path: "old.crt")
        try files.copyItem(at: folder.appending(path: "tls.crt"), to: old)
        let new = folder.appending(path: "new")
        try await Front.makeCertificate(in: new.path)
        func isServed(_ certificate: URL) async throws -> Bool {
            var isTrusted = false
            try await front.withSecureClient({ $0.tlsConfiguration?.trustRoots = .file(certificate.path) }) { client in
                isTrusted = (try? await client.execute("GET", "/health"))?.status == .ok
            }
            return isTrusted
        }
        func replace(_ name: String) throws {
            guard rename(new.appending(path: name).path, folder.appending(path: name).path) == 0 else {
                throw HarnessError("\(name): \(String(cString: strerror(errno)))")
            }
        }
        let served = new.appending(path: "copy.crt")
        try files.copyItem(at: new.appending(path: "tls.crt"), to: served)
        try replace("tls.crt")
        try await eventually("half of a pair is refused", or: { front.nginx.endpoint.log }) {
            front.nginx.endpoint.log.contains("is refused and not loaded")
        }
        #expect(try await isServed(old))
        try replace("tls.key")
        try await eventually("the new certificate is served", or: { front.nginx.endpoint.log }) {
            try await isServed(served)
        }
        // It is not one that was made here: browsers are told to insist on TLS.
        try await front.withSecureClient({ $0.tlsConfiguration?.trustRoots = .file(served.path) }) { client in
            let headers = try await client.execute("GET", "/health").headers
            #expect(headers.first(name: "Strict-Transport-Security") != nil)
        }
    }

    @Test func aStopLetsStreamsEnd() async throws {
        let gateway = try await streaming()
        try await Front.with([gateway], ["NGINX_DRAIN": "60"]) { front in
            var body = try await front.execute("GET", "/stream/1").body.makeAsyncIterator()
            _ = try await read(&body, until: "waiting")
            let stop = Task { try await front.nginx.stop() }
            // Without a client library, which would go on trying.
            let knock = [("GET /health HTTP/1.1\r\nHost: front\r\n\r\n", "{}")]
            try await eventually("nobody is let in") { (try? await front.converse(knock)) == nil }
            gateway.send("id: 0\n\n")
            gateway.finish()
            #expect(try await read(&body, until: "\n\n") == "id: 0\n\n")
            #expect(try await body.next() == nil)
            try await stop.value
        }
    }
}

/// What `getent` finds: stands for Docker's name server, whose answers change as containers come and go.
private struct NameService {
    /// A folder of programs with a `getent` in it.
    let folder: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: "names-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        folder = url.path
        let program = "\(folder)/getent"
        try "#!/bin/sh\nexec cat \(folder)/addresses\n".write(toFile: program, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
    }

    func say(_ addresses: [String]) throws {
        let lines = addresses.map { "\($0)  STREAM gateway\n\($0)  DGRAM\n" }.joined()
        try lines.write(toFile: "\(folder)/addresses", atomically: true, encoding: .utf8)
    }
}
