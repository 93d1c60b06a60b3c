import AsyncHTTPClient
import Foundation
import ServiceHarness
import TestServers
import Testing

/// What `nginx/entrypoint` makes of its environment, and what nginx says to that.
struct EntrypointTests {
    /// Renders the files with these settings.
    /// - Returns: the outcome, and the folder of the files.
    private func render(_ settings: [String: String], programs: String? = nil) async throws -> (
        Program.Result, String
    ) {
        let folder = FileManager.default.temporaryDirectory.appending(path: "nginx-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = [programs, "/usr/sbin:/usr/bin:/bin", TestServers.unpackedNginx].compactMap { $0 }
        let defaults = [
            "PATH": path.joined(separator: ":"), "GATEWAY_UPSTREAM": "127.0.0.1:1", "NGINX_RUN": folder,
            "NGINX_CERTIFICATES": folder + "/certificates", "NGINX_PORT": "\(try freePort())",
            "NGINX_TLS_PORT": "\(try freePort())", "NGINX_OPERATOR_PORT": "\(try freePort())",
        ]
        let environment = defaults.merging(settings) { $1 }
        return (
            try await Program.run(TestServers.repository + "/nginx/entrypoint", ["render"], environment: environment),
            folder
        )
    }

    private func file(_ name: String, in folder: String) throws -> String {
        try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
    }

    @Test(arguments: [
        [:], ["NGINX_RATE": "0", "NGINX_CONNECTIONS": "0", "NGINX_BURST": "0"],
        ["GATEWAY_UPSTREAM": "127.0.0.1:1,127.0.0.2:2"], ["GATEWAY_UPSTREAM": "nobody.invalid:80"],
        ["NGINX_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1,2001:db8::/32"],
        ["NGINX_NAMES": "chat.example.org,*.a.b, 192.0.2.7"],
        ["TURN_DEADLINE": "1500ms", "TURN_BATCH_DEADLINE": "2h", "GATEWAY_HEARTBEAT": "1s"],
        ["GATEWAY_UPSTREAM": "", "NGINX_RATE": "", "TURN_DEADLINE": "", "NGINX_MEMORY_MIB": ""],
        ["NGINX_MEMORY_MIB": "64"], ["NGINX_MEMORY_MIB": "1048576"],
    ])
    func nginxTakesTheFiles(_ settings: [String: String]) async throws {
        let (outcome, folder) = try await render(settings)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(outcome.status == 0, "\(outcome.text)")
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasSuffix(".conf") {
            let text = try file(name, in: folder)
            #expect(text.firstMatch(of: /@[A-Z_]+@/) == nil, "\(name) has a name without a value")
        }
    }

    @Test(arguments: [
        ("NGINX_RATE", "fast"), ("NGINX_RATE", "-1"), ("NGINX_BURST", "010"),
        ("NGINX_CONNECTIONS", "99999999999999999999"),
        ("NGINX_PORT", "70000"), ("GATEWAY_MAX_BODY_BYTES", "1"), ("GATEWAY_HEARTBEAT", "15"), ("TURN_DEADLINE", "xm"),
        ("GATEWAY_UPSTREAM", "gateway"), ("GATEWAY_UPSTREAM", "gateway:0"), ("GATEWAY_UPSTREAM", "a:1;}"),
        ("GATEWAY_UPSTREAM", "::1:80"), ("NGINX_RUN", "/tmp/a b"), ("NGINX_ADDRESS", "0.0.0.0; include /etc/passwd"),
        ("NGINX_TRUSTED_PROXIES", "all"), ("NGINX_NAMES", "a/CN=b"), ("NGINX_NAMES", "a;b"),
        ("NGINX_CERTIFICATES", "/|/e"), ("NGINX_BODIES", "/b;"), ("NGINX_MEMORY_MIB", "1g"), ("NGINX_MEMORY_MIB", "32"),
        ("TURN_BATCH_DEADLINE", "$(id)s"),
    ])
    func slipsAreNamed(_ name: String, _ value: String) async throws {
        let (outcome, folder) = try await render([name: value])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(outcome.status == 78 && outcome.text.contains("\(name): "), "\(outcome.status) \(outcome.text)")
    }

    /// nginx moved `http2` to a directive of its own, and warns of the old form; older ones know only that.
    @Test(arguments: [("1.22.1", false), ("1.25.0", false), ("1.25.1", true), ("1.28.0", true), ("2.0.0", true)])
    func everyNginxIsSpokenToInItsForm(_ version: String, _ hasDirective: Bool) async throws {
        let programs = FileManager.default.temporaryDirectory.appending(path: "programs-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: programs) }
        let program = programs + "/nginx"
        try "#!/bin/sh\necho nginx version: nginx/\(version) >&2\n".write(
            toFile: program, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
        let (outcome, folder) = try await render([:], programs: programs)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(outcome.status == 0, "\(outcome.text)")
        let text = try file("nginx.conf", in: folder)
        #expect(text.contains("http2 on;") == hasDirective && text.contains(" ssl http2;") != hasDirective)
    }

    @Test func aMountedCertificateIsTakenAsItIs() async throws {
        let mounted = FileManager.default.temporaryDirectory.appending(path: "mounted-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: mounted) }
        try await Front.makeCertificate(in: mounted)
        let (own, ownFolder) = try await render(["NGINX_CERTIFICATES": mounted])
        defer { try? FileManager.default.removeItem(atPath: ownFolder) }
        // Browsers that have heard of this from a certificate that nobody trusts could not go on at all.
        let ownHeaders = try file("headers.conf", in: ownFolder)
        #expect(own.status == 0 && !ownHeaders.contains("Strict-Transport-Security"))

        try FileManager.default.removeItem(atPath: mounted + "/self-signed")
        let before = try String(contentsOfFile: mounted + "/tls.crt", encoding: .utf8)
        let (foreign, folder) = try await render(["NGINX_CERTIFICATES": mounted])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let headers = try file("headers.conf", in: folder)
        #expect(foreign.status == 0 && headers.contains("Strict-Transport-Security"))
        #expect(try String(contentsOfFile: mounted + "/tls.crt", encoding: .utf8) == before)

        try FileManager.default.removeItem(atPath: mounted + "/tls.key")
        let (half, halfFolder) = try await render(["NGINX_CERTIFICATES": mounted])
        defer { try? FileManager.default.removeItem(atPath: halfFolder) }
        #expect(half.status == 78 && half.text.contains("mount both or neither"), "\(half.text)")
    }

    @Test func oldProtocolsAreRefused() async throws {
        let gateway = try await ScriptedGateway()
        try await Front.with([gateway]) { front in
            try await front.withSecureClient({ $0.tlsConfiguration?.maximumTLSVersion = .tlsv11 }) { client in
                await #expect(throws: (any Error).self) { try await client.execute("GET", "/health") }
            }
            try await front.withSecureClient({ $0.tlsConfiguration?.maximumTLSVersion = .tlsv12 }) { client in
                let answer = try await client.execute("GET", "/health")
                #expect(answer.status == .ok)
            }
            try await front.withSecureClient({ $0.httpVersion = .http1Only }) { client in
                let answer = try await client.execute("GET", "/health")
                #expect(answer.version == .http1_1)
            }
            let plain = try await front.converse(
                [("GET /health HTTP/1.1\r\nHost: front\r\n\r\n", "\"}}\n")], port: front.nginx.endpoint.tlsPort)[0]
            #expect(plain.hasPrefix("HTTP/1.1 400 ") && plain.contains("use https"), "\(plain)")
        }
    }
}
