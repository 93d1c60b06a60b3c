import Foundation
import ServiceKit
import Testing

@testable import switchboard

/// Where a client's command finds its gateway when nobody says it.
@Suite struct LocalClusterTests {
    private static let standard = "http://127.0.0.1:8080"

    /// A folder as `make up` leaves it, with what a test puts there in place of a file.
    private func withState(_ files: [String: String] = [:], _ body: (URL) throws -> Void) throws {
        let state = FileManager.default.temporaryDirectory.appending(path: "switchboard-state-\(UUID())")
        defer { try? FileManager.default.removeItem(at: state) }
        try FileManager.default.createDirectory(
            at: state.appending(path: "cluster"), withIntermediateDirectories: true)
        let pid = ProcessInfo.processInfo.processIdentifier
        let running = "\(pid) \(try #require(ProcessStart.ticks(of: pid)))                  \n"
        let all = ["cluster.env": "MODEL_NAME='a b'\nGATEWAY_PORT=9123\n", "cluster/supervisor.pid": running]
        for (name, text) in all.merging(files, uniquingKeysWith: { $1 }) {
            try text.write(to: state.appending(path: name), atomically: true, encoding: .utf8)
        }
        try body(state)
    }

    private func gateways(
        _ state: URL, _ arguments: [String] = [], _ environment: [String: String] = [:]
    ) throws -> [String] {
        let keyFile = ["--key-file", state.appending(path: "api-key").path]
        return try GatewayOptions.parse(keyFile + arguments).gateways(Settings(environment: environment))
    }

    @Test func theClusterThatRunsBesideTheKeyIsAskedUnlessAnotherIsNamed() throws {
        try withState { state in
            let found = try gateways(state)
            #expect(found == ["http://127.0.0.1:9123"])
            let named = ["CHAT_GATEWAYS": "http://127.0.0.1:1,http://127.0.0.1:2"]
            let configured = try gateways(state, [], named)
            #expect(configured == ["http://127.0.0.1:1", "http://127.0.0.1:2"])
            let asked = try gateways(state, ["--gateway", "http://127.0.0.1:3"], named)
            #expect(asked == ["http://127.0.0.1:3"])
        }
    }

    @Test(arguments: [
        // A process of this pid that began at another time is a stranger.
        ["cluster/supervisor.pid": "\(ProcessInfo.processInfo.processIdentifier) 1\n"],
        ["cluster/supervisor.pid": "0 0\n"], ["cluster/supervisor.pid": ""],
        ["cluster.env": "MODEL_NAME=m\n"], ["cluster.env": "GATEWAY_PORT=\n"], ["cluster.env": "GATEWAY_PORT=70000\n"],
    ])
    func whatDoesNotRunIsNotAsked(files: [String: String]) throws {
        try withState(files) { state in
            let found = try gateways(state)
            #expect(found == [Self.standard])
        }
    }

    @Test func withoutAClusterItIsTheUsualPort() throws {
        let found = try gateways(URL(fileURLWithPath: "/nonexistent"))
        #expect(found == [Self.standard])
    }
}
