import ServiceHarness
import Testing

/// The chat when nobody reads it any more, or nothing can be written.
@Suite struct ChatOutputTests {
    /// Runs the chat with one message; `output` is the shell's word for where its standard output goes.
    /// - Returns: its exit status, and what it said on standard error before.
    private func chat(_ output: String) async throws -> String {
        let gateway = try await FakeGateway(.honest)
        let script = """
            exec 3> >(exit 0); wait $!
            "$0" chat --gateway "$1" \(output) <<<"hi"
            echo "status $?"
            """
        let result = try await Program.run(
            "bash", ["-c", script, Executable.path("switchboard"), gateway.url],
            environment: ["PATH": "/usr/bin:/bin", "CHAT_API_KEY": "key"])
        try await gateway.stop()
        return result.text
    }

    @Test func aReaderThatHasGoneEndsItQuietly() async throws {
        #expect(try await chat(">&3") == "status 141")
    }

    @Test func aFullDiskIsSaid() async throws {
        #expect(
            try await chat(">/dev/full") == "the output cannot be written: No space left on device\nstatus 1")
    }

    @Test func whoReadsItGetsTheAnswer() async throws {
        #expect(try await chat("") == String(repeating: "x", count: FakeGateway.tokens) + "\nstatus 0")
    }
}
