import Foundation
import Testing

@testable import gateway

@Suite struct TurnRequestTests {
    private func request(_ json: String) throws(APIError) -> TurnRequest { try TurnRequest(body: Data(json.utf8)) }

    @Test func takesTheLeastAndTheMost() throws {
        let least = try request(#"{"message":"Hi","user_id":"ann"}"#)
        #expect(least.message == "Hi" && least.userID.text == "ann" && least.stop == nil)
        let most = try request(
            #"""
            {"message":"Hi","user_id":7,"context":[{"role":"assistant","content":"x"}],"stream":false,"conversation_id":42,
             "system":"s","max_tokens":5,"temperature":0,"top_p":1,"seed":18446744073709551615,"stop":"END","model":"m",
             "unknown":[]}
            """#)
        #expect(
            most.userID.text == "7" && most.seed == .max && most.stop?.texts == ["END"] && most.conversationID == 42)
    }

    @Test(arguments: [
        (#"{"user_id":"a"}"#, "message"), (#"{"message":"","user_id":"a"}"#, "message"),
        (#"{"message":null,"user_id":"a"}"#, "message"), (#"{"message":7,"user_id":"a"}"#, "message"),
        (#"{"message":"x"}"#, "user_id"), (#"{"message":"x","user_id":""}"#, "user_id"),
        (#"{"message":"x","user_id":[]}"#, "user_id"), (#"{"message":"x","user_id":"a\u0000"}"#, "user_id"),
        (#"{"message":"x","user_id":"a","context":[{"role":"robot","content":""}]}"#, "context[0].role"),
        (#"{"message":"x","user_id":"a","context":[{"role":"user"}]}"#, "context[0].content"),
        (#"{"message":"x","user_id":"a","context":"y"}"#, "context"),
        (#"{"message":"x","user_id":"a","conversation_id":0}"#, "conversation_id"),
        (#"{"message":"x","user_id":"a","conversation_id":9007199254740992}"#, "conversation_id"),
        (#"{"message":"x","user_id":"a","conversation_id":1.5}"#, "conversation_id"),
        (#"{"message":"x","user_id":"a","max_tokens":0}"#, "max_tokens"),
        (#"{"message":"x","user_id":"a","max_tokens":1e99}"#, "max_tokens"),
        (#"{"message":"x","user_id":"a","temperature":-0.1}"#, "temperature"),
        (#"{"message":"x","user_id":"a","temperature":"hot"}"#, "temperature"),
        (#"{"message":"x","user_id":"a","top_p":0}"#, "top_p"), (#"{"message":"x","user_id":"a","seed":-1}"#, "seed"),
        (#"{"message":"x","user_id":"a","stop":[""]}"#, "stop"),
        (#"{"message":"x","user_id":"a","stop":["a","b","c","d","e"]}"#, "stop"),
        (#"{"message":"x""#, "body"), ("[]", "body"), ("", "body"), ("\u{FEFF}nonsense", "body"),
    ])
    func aBadBodyIsRefusedByField(json: String, field: String) {
        let error = #expect(throws: APIError.self) { try request(json) }
        #expect(error?.status == .badRequest)
        #expect(error?.field == field)
    }

    @Test func aDeepBodyIsRefusedAndNotRecursedInto() {
        let deep = #"{"message":"x","user_id":"a","context":"# + String(repeating: "[", count: 100_000)
        #expect(throws: APIError.self) { try request(deep) }
    }
}
