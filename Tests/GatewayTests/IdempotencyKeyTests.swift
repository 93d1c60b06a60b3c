import ChatCore
import Foundation
import HTTPTypes
import Testing

@testable import gateway

@Suite struct IdempotencyKeyTests {
    private func fields(_ values: String...) throws -> HTTPFields {
        let name = try #require(IdempotencyKey.header)
        var fields: HTTPFields = [:]
        for value in values { fields.append(HTTPField(name: name, value: value)) }
        return fields
    }

    @Test func aKeyIsVisibleTextOfAtMost255Bytes() throws {
        #expect(try IdempotencyKey([:]) == nil)
        #expect(try IdempotencyKey(fields("8e03978e-40d5"))?.text == "8e03978e-40d5")
        let longest = String(repeating: "k", count: 255)
        #expect(try IdempotencyKey(fields(longest))?.text == longest)
        for bad in ["", longest + "k", "two words", "naïve"] {
            #expect(throws: APIError.self, "\(bad)") { try IdempotencyKey(try fields(bad)) }
        }
        #expect(throws: APIError.self) { try IdempotencyKey(try fields("a", "b")) }
    }

    private func digest(_ json: String, _ kind: Turn.Kind = .batch) throws -> String {
        try TurnRequest(body: Data(json.utf8), unknownFields: .ignore).digest(kind)
    }

    @Test func howARequestIsWrittenDoesNotCount() throws {
        let one = try digest(#"{"message":"Hi","user_id":"7","stop":"END","temperature":1}"#)
        #expect(one.utf8.count == 64)
        #expect(
            try digest("{ \"user_id\":7,\n\"temperature\":1.0,\"stop\":[\"END\"],\"message\":\"\\u0048i\",\"new\":1}")
                == one)
    }

    @Test func everyFieldAndThePathCount() throws {
        let bodies = [
            #"{"message":"a","user_id":"u"}"#, #"{"message":"b","user_id":"u"}"#, #"{"message":"a","user_id":"v"}"#,
            #"{"message":"a","user_id":"u","context":[]}"#,
            #"{"message":"a","user_id":"u","context":[{"role":"user","content":"x"}]}"#,
            #"{"message":"a","user_id":"u","context":[{"role":"system","content":"x"}]}"#,
            #"{"message":"a","user_id":"u","conversation_id":5}"#, #"{"message":"a","user_id":"u","system":"x"}"#,
            #"{"message":"a","user_id":"u","model":"x"}"#, #"{"message":"a","user_id":"u","max_tokens":5}"#,
            #"{"message":"a","user_id":"u","seed":5}"#, #"{"message":"a","user_id":"u","temperature":0.5}"#,
            #"{"message":"a","user_id":"u","top_p":0.5}"#, #"{"message":"a","user_id":"u","stop":"x"}"#,
            #"{"message":"a","user_id":"u","stop":["x","y"]}"#, #"{"message":"a","user_id":"u","stop":"xy"}"#,
        ]
        let digests = Set(try bodies.map { try digest($0) })
        #expect(digests.count == bodies.count)
        #expect(try digest(bodies[0], .chat) != digest(bodies[0], .batch))
    }
}
