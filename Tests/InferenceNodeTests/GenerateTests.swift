import ArgumentParser
import Testing

@testable import inference_node

@Suite struct GenerateTests {
    private func parse(_ maxTokens: String) throws -> Int {
        try Generate.parse(["--model", "x.gguf", "--max-tokens=\(maxTokens)"]).maxTokens
    }

    @Test func anAnswerHasAtLeastOneTokenAndAtMostTheLongestContext() throws {
        #expect(try Generate.parse(["--model", "x.gguf"]).maxTokens == 128)
        #expect(try parse("1") == 1)
        #expect(try parse("16777216") == 1 << 24)
    }

    /// The number is added to that of the prompt's tokens; one near `Int.max` must not get that far.
    @Test(arguments: ["0", "-1", "16777217", "9223372036854775807", "-9223372036854775808"])
    func whatIsOutsideIsRefusedByTheOptionsName(_ maxTokens: String) throws {
        let error = try #require(throws: (any Error).self) { _ = try parse(maxTokens) }
        #expect(Generate.message(for: error).contains("--max-tokens must be between 1 and 16777216"))
    }
}
