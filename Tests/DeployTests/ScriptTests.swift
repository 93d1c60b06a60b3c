import Foundation
import ServiceHarness
import Testing

/// Scripts of `deploy/local` in a folder of their own, beside programs that only pretend.
@Suite struct ScriptTests {
    /// - Parameters:
    ///   - scripts: those of `deploy/local` that are really run.
    ///   - programs: what stands for the others, by their paths from that folder.
    private func withScripts(
        _ scripts: [String], programs: [String: String], _ body: (String) async throws -> Void
    ) async throws {
        let root = NSTemporaryDirectory() + "switchboard-scripts-\(UUID())"
        let folder = root + "/deploy/local"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        for script in scripts {
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/\(script)",
                withDestinationPath: PrometheusFiles.repository.appending(path: "deploy/local/\(script)").path)
        }
        for (name, text) in programs {
            // By another process: a child that is forked meanwhile would keep this one's file open, and nobody could run it.
            let written = try await Program.run(
                "sh",
                [
                    "-c", #"mkdir -p "${2%/*}" && printf %s "$1" >"$2" && chmod 755 "$2""#, "sh", text,
                    "\(folder)/\(name)",
                ])
            try #require(written.status == 0, "\(written.text)")
        }
        try await body(folder)
    }

    /// A model is a file or a folder. llama.cpp reads files alone: of a folder there are our own figures.
    @Test func theBenchmarkTakesAFolder() async throws {
        let programs = [
            "inference-node": """
            #!/bin/sh
            [ "$1 $2 $3" = "bench --json --model" ] && [ -e "$4" ] || exit 1
            for test in prefill decode; do echo '{"test": "'$test'", "tokens_per_second": 7}'; done

            """,
            "setup": "#!/bin/sh\nexit 1\n",
            "../../Tests/Reference/llamacpp.py": """
            class LlamaCpp:
                def __init__(self, path, **_):
                    raise SystemExit(f"llama.cpp was given {path}")

            quantize = None

            """,
        ]
        try await withScripts(["bench", "bench_engine.py", "processes.sh"], programs: programs) { folder in
            let model = folder + "/a model"
            try FileManager.default.createDirectory(atPath: model, withIntermediateDirectories: true)
            func bench(_ model: String) async throws -> Program.Result {
                try await Program.run(
                    "\(folder)/bench", ["engine", "--json", "--rounds", "1"],
                    environment: ["PATH": "/usr/bin:/bin", "PROGRAMS": folder, "MODEL_PATH": model])
            }
            let taken = try await bench(model)
            #expect(taken.status == 0 && taken.text.contains("our own figures only"), "\(taken.text)")
            #expect(taken.text.contains(#"{"test": "decode", "batch": 8, "prompt": 128, "tokens_per_second": 7}"#))
            let file = try await bench("\(folder)/setup")
            #expect(file.text.contains("llama.cpp was given \(folder)/setup"), "\(file.text)")
            let missing = try await bench("/typo")
            #expect(missing.status == 1 && missing.text.contains("no model at /typo"), "\(missing.text)")
        }
    }

    /// `make test` fails when a test was skipped that could have run; `swift test` itself is content.
    @Test(arguments: [
        (#"✔ Test passes() passed after 0.001 seconds."#, 0),
        (#"➜ Suite TurnTests skipped: "needs the model that deploy/local/setup fetches""#, 1),
        (#"➜ Test "the default model opens" skipped: "needs the default model""#, 1), ("➜ Test passes() skipped.", 1),
        (#"➜ Test aFullDisk() skipped: "for root alone: it mounts a file system""#, 0),
        (#"➜ Suite LatencyFigures skipped: "figures, printed when SWITCHBOARD_FIGURES is set""#, 0),
        (#"a turn that was skipped: said by a service's log"#, 0),
        (#"◇ Test case passing 1 argument line → "➜ Test passes() skipped: "why"" to aSkippedTest(line:) started."#, 0),
    ]) func aSkippedTestIsAFailure(line: String, status: Int32) async throws {
        try await withScripts(["run-tests"], programs: ["swift": "#!/bin/sh\necho \"$LINE\"\nexit $STATUS\n"]) {
            folder in
            func run(_ ending: Int) async throws -> Program.Result {
                try await Program.run(
                    "\(folder)/run-tests", ["--filter", "X"],
                    environment: ["PATH": "\(folder):/usr/bin:/bin", "LINE": line, "STATUS": "\(ending)"])
            }
            let result = try await run(0)
            #expect(result.status == status && result.text.contains(line), "\(result.text)")
            #expect(result.text.contains("each must run here") == (status == 1))
            // A failed test is one, whatever was skipped.
            #expect(try await run(1).status == 1)
        }
    }
}
