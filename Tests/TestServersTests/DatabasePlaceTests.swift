import Foundation
import Testing

@testable import TestServers

/// Where PostgreSQL's data are when its user cannot pass through the folders above: it refuses to run as root.
@Suite(.serialized) struct DatabasePlaceTests {
    private let root: String

    init() throws {
        root = NSTemporaryDirectory() + "switchboard-places-\(UUID())"
        try FileManager.default.createDirectory(
            atPath: root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    @Test(.enabled(if: getuid() == 0, "for root alone: it moves a folder of root's")) func dataStayWhereTheyAreWhenTheFolderMoves() async throws {
        let (first, moved) = ("\(root)/a/postgres", "\(root)/b/postgres")
        try await start(first)
        _ = try await ServersCommand.run(["database", first, "kept"])
        try await stop(first)

        try FileManager.default.moveItem(atPath: "\(root)/a", toPath: "\(root)/b")
        try await start(moved)
        await #expect(throws: TestServerError.self, "it is there already") {
            _ = try await ServersCommand.run(["database", moved, "kept"])
        }
        try await stop(moved)

        // A new folder of the old name has a database of its own.
        try await start(first)
        _ = try await ServersCommand.run(["database", first, "kept"])
        try await stop(first)
        #expect(try place(of: first) != place(of: moved))
        try await start(moved)
        await #expect(throws: TestServerError.self) { _ = try await ServersCommand.run(["database", moved, "kept"]) }

        // Two clusters on the same data would destroy them.
        try FileManager.default.copyItem(atPath: "\(root)/b", toPath: "\(root)/c")
        try? FileManager.default.removeItem(atPath: "\(root)/c/postgres/pid")
        await #expect(throws: TestServerError.self) { try await start("\(root)/c/postgres") }
        try await stop(moved)
        for path in [first, moved] {
            for file in try [place(of: path), place(of: path) + ".of"] {
                try FileManager.default.removeItem(atPath: file)
            }
        }
        try FileManager.default.removeItem(atPath: root)
    }

    /// initdb writes PG_VERSION first.
    @Test func whatAKilledInitdbLeftIsNoDatabase() async throws {
        let server = try await TestServers.startPostgres(databases: ["only"])
        try await server.stop()
        // As if it had been killed: the data under the name that they have until they are whole.
        try FileManager.default.moveItem(atPath: "\(server.path)/data", toPath: "\(server.path)/data.partial")
        try FileManager.default.removeItem(atPath: "\(server.path)/data.partial/global")
        try await server.restart()
        #expect(!FileManager.default.fileExists(atPath: "\(server.path)/data.partial"))
        try await server.stop()
        try FileManager.default.removeItem(atPath: root)
    }

    private func start(_ folder: String) async throws {
        _ = try await ServersCommand.run(["start", "postgres", folder, "--volatile"])
    }

    private func stop(_ folder: String) async throws { _ = try await ServersCommand.run(["stop", folder]) }

    private func place(of folder: String) throws -> String {
        try String(contentsOfFile: "\(folder)/elsewhere", encoding: .utf8).trimmingCharacters(in: .newlines)
    }
}
