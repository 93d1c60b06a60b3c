import Foundation
import TestServers
import Testing

/// Prompts, turn logs and queued turns lie in the servers' files: nobody but their owner reads them.
@Suite(.serialized) struct FileModeTests {
    @Test func nobodyElseReadsWhatAServerKeeps() async throws {
        let redis = try await TestServers.startRedis()
        #expect(try open(below: redis.path) == [])
        try await redis.stop()
        let rabbit = try await TestServers.startRabbit(virtualHosts: 1)
        #expect(try open(below: rabbit.path) == [])
        try await rabbit.stop()
        let postgres = try await TestServers.startPostgres()
        #expect(try open(below: postgres.path) == [])
        try await postgres.stop()
    }

    /// Earlier versions left files that everybody could read.
    @Test func whatWasOpenIsClosedAtTheNextStart() async throws {
        let redis = try await TestServers.startRedis()
        try await redis.stop()
        for file in try files(below: redis.path) {
            try FileManager.default.setAttributes([.posixPermissions: mode(file) | 0o055], ofItemAtPath: file)
        }
        #expect(try open(below: redis.path).count > 3)
        try await redis.restart()
        #expect(try open(below: redis.path) == [])
        try await redis.stop()
    }

    /// What others could read, write or list. Through the instance's folder itself another user may pass.
    private func open(below path: String) throws -> [String] {
        #expect(mode(path) & 0o066 == 0)
        return try files(below: path).filter { mode($0) & 0o077 != 0 }
    }

    private func files(below path: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: path).map { "\(path)/\($0)" }
    }

    /// 0 for a file that the server has removed in the meantime.
    private func mode(_ path: String) -> Int {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        return (attributes?[.posixPermissions] as? NSNumber)?.intValue ?? 0
    }
}
