import Foundation
import ServiceHarness

/// `deploy/local/cluster` with programs that only pretend, and with servers of somebody else's: how it starts, supervises and
/// stops, in seconds.
struct StubCluster {
    /// The state folder: its name is one that a shell script may stumble over.
    let state: String
    let port: Int
    private let root: String

    init() throws {
        root = NSTemporaryDirectory() + "switchboard-stubs-\(UUID())"
        state = root + "/o'neil's own"
        port = try freePort()
        for folder in ["programs", "model", "o'neil's own"] {
            try FileManager.default.createDirectory(
                atPath: "\(root)/\(folder)", withIntermediateDirectories: true)
        }
        try "{}".write(toFile: "\(root)/model/config.json", atomically: true, encoding: .utf8)
        for (name, script) in Self.programs {
            let path = "\(root)/programs/\(name)"
            try script.write(toFile: path, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
    }

    private static let programs = [
        "inference-node": "#!/bin/sh\nexec sleep 600\n", "queue-worker": "#!/bin/sh\nexec sleep 600\n",
        "orchestrator": "#!/bin/sh\nexec sleep 600\n",
        "switchboard": """
        #!/bin/sh
        [ "$1" != migrate ] || [ -z "$STUB_FAILS" ] || exit 1
        [ "$1" != keys ] || echo sb_stub

        """,
        "gateway": """
        #!/usr/bin/env python3
        import http.server, os
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"status": "healthy"}')
            def log_message(self, *words):
                pass
        http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["GATEWAY_PORT"])), Handler).serve_forever()

        """,
    ]

    var model: String { "\(root)/model" }

    /// What the script gets: a proxy that does not exist, too.
    var environment: [String: String] {
        [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": root,
            "CLUSTER_STATE": state, "PROGRAMS": "\(root)/programs", "GATEWAY_PORT": "\(port)", "MODEL_PATH": model,
            "MODEL_NAME": "Bob's model", "DETACH": "1", "HEALTHY_LIMIT": "60", "http_proxy": "http://127.0.0.1:9",
            "REDIS_HOST": "redis.example", "REDIS_PASSWORD": "it's", "RABBITMQ_URI": "amqp://broker.example/",
            "DATABASE_SHARDS": "postgresql://database.example/one",
        ]
    }

    @discardableResult
    func cluster(_ command: String, _ changes: [String: String] = [:]) async throws -> Program.Result {
        try await Program.run(
            Self.script, [command], environment: environment.merging(changes) { $1 }.filter { !$0.value.isEmpty })
    }

    /// A shell script with these names: `$cluster`, the script; `$state`, the folder.
    func shell(_ script: String, _ changes: [String: String] = [:], by words: [String] = []) async throws
        -> Program.Result
    {
        let all = environment.merging(["cluster": Self.script, "state": state]) { $1 }.merging(changes) { $1 }
        let command = words + ["bash", "-c", script]
        return try await Program.run("/usr/bin/env", command, environment: all)
    }

    static let script = PrometheusFiles.repository.appending(path: "deploy/local/cluster").path

    func remove() async throws {
        try await cluster("down")
        try FileManager.default.removeItem(atPath: root)
    }
}
