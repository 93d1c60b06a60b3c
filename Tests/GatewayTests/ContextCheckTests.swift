import ChatCore
import Foundation
import Testing

@testable import gateway

@Suite struct ContextCheckTests {
    private func error(_ message: String, _ bounds: [ContextBound], context: [String] = []) throws -> APIError? {
        let messages = context.map { ["role": "user", "content": $0] }
        let body: [String: Any] = ["message": message, "user_id": "u", "context": messages]
        let request = try TurnRequest(body: try JSONSerialization.data(withJSONObject: body))
        do throws(APIError) {
            try ContextCheck.check(request, bounds)
            return nil
        } catch {
            return error
        }
    }

    @Test func onlyWhatTheBytesAloneShowIsRefused() throws {
        let bound = ContextBound(tokens: 10, bytesPerToken: 8)
        #expect(try error(String(repeating: "x", count: 80), [bound]) == nil)
        let refusal = try error(String(repeating: "x", count: 81), [bound])
        #expect(refusal?.status == .badRequest && refusal?.code == "context_length_exceeded")
        #expect(refusal?.message == "message and context have at least 11 tokens; the model's context has 10")
        #expect(
            try error(String(repeating: "x", count: 41), [bound], context: [String(repeating: "y", count: 40)]) != nil)
        // Bytes that may be in no token do not count.
        #expect(try error(String(repeating: "é", count: 500), [bound]) == nil)
        // Templates may trim.
        #expect(try error(String(repeating: " ", count: 500) + "x", [bound]) == nil)
        #expect(try error(String(repeating: "\n", count: 500), [bound]) == nil)
    }

    @Test func whatNobodySaysIsNotChecked() throws {
        let long = String(repeating: "x", count: 1000)
        #expect(try error(long, []) == nil)
        // Numbers out of a store.
        for (tokens, bytes) in [(0, 8), (-1, 8), (10, 0), (Int.max, 8), (10, Int.min)] {
            #expect(try error(long, [ContextBound(tokens: tokens, bytesPerToken: bytes)]) == nil)
        }
        // Orchestrators of two versions of a model: the roomier counts.
        let bounds = [(1, 1), (1000, 1)].map { ContextBound(tokens: $0, bytesPerToken: $1) }
        #expect(try error(long, bounds) == nil)
    }
}
