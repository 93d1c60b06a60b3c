import Foundation
import ServiceHarness
import TestServers
import Testing

/// `nginx/make-certificate`: when it makes a pair, and what it leaves alone.
struct CertificateTests {
    private let folder = FileManager.default.temporaryDirectory.appending(path: "certificates-\(UUID())").path

    private func make(_ names: String = "") async throws {
        let made = try await Program.run(
            TestServers.repository + "/nginx/make-certificate", [folder],
            environment: ["PATH": "/usr/bin:/bin", "NGINX_NAMES": names])
        #expect(made.status == 0, "\(made.text)")
    }

    private func read(_ name: String) throws -> String {
        try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
    }

    private func names() async throws -> String {
        try await Program.run(
            "openssl", ["x509", "-noout", "-ext", "subjectAltName", "-in", "\(folder)/tls.crt"]
        ).text
    }

    private func isPair() async throws -> Bool {
        let key = try await Program.run("openssl", ["pkey", "-pubout", "-in", "\(folder)/tls.key"]).text
        let certificate = try await Program.run(
            "openssl", ["x509", "-noout", "-pubkey", "-in", "\(folder)/tls.crt"]
        ).text
        return key == certificate
    }

    @Test func otherNamesAreTakenIntoANewOne() async throws {
        try await make()
        let first = try read("tls.crt")
        try await make()
        #expect(try read("tls.crt") == first)
        try await make("chat.example.org")
        #expect(try await names().contains("chat.example.org"))
        let second = try read("tls.crt")
        try await make("chat.example.org")
        #expect(try read("tls.crt") == second)
        try await make("other.example.org")
        #expect(try await !names().contains("chat.example.org"))
        // Earlier versions noted the digest alone.
        let mark = try read("self-signed").split(separator: "\n")[0] + "\n"
        try String(mark).write(toFile: "\(folder)/self-signed", atomically: true, encoding: .utf8)
        let third = try read("tls.crt")
        try await make()
        #expect(try read("tls.crt") == third)
        try await make("third.example.org")
        #expect(try await names().contains("third.example.org"))
        try FileManager.default.removeItem(atPath: folder)
    }

    /// As after a crash behind each of the renames.
    @Test(arguments: [true, false], [1, 2])
    func aCrashBetweenTheRenamesIsMadeGood(isFirst: Bool, renames: Int) async throws {
        let made = folder + "-made"
        let other = try await Program.run(TestServers.repository + "/nginx/make-certificate", [made])
        #expect(other.status == 0)
        if isFirst {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } else {
            try await make()
        }
        for (index, name) in ["tls.key", "tls.crt", "self-signed"].enumerated() {
            let target = "\(folder)/\(name)" + (index < renames ? "" : ".partial")
            try? FileManager.default.removeItem(atPath: target)
            try FileManager.default.moveItem(atPath: "\(made)/\(name)", toPath: target)
        }
        try await make()
        #expect(try await isPair())
        let left = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        #expect(left == ["self-signed", "tls.crt", "tls.key"])
        // It is known as one of its own.
        try await make("chat.example.org")
        #expect(try await names().contains("chat.example.org"))
        try FileManager.default.removeItem(atPath: folder)
        try FileManager.default.removeItem(atPath: made)
    }

    @Test func aMountedPairIsNeverTouched() async throws {
        try await make()
        try FileManager.default.removeItem(atPath: "\(folder)/self-signed")
        let mounted = try read("tls.crt")
        try "of a start that was cut off".write(
            toFile: "\(folder)/self-signed.partial", atomically: true, encoding: .utf8)
        try await make("chat.example.org")
        #expect(try read("tls.crt") == mounted)
        try FileManager.default.removeItem(atPath: folder)
    }
}
