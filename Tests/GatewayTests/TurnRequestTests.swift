import Foundation
import ServiceKit
import Testing

@testable import gateway

@Suite struct TurnRequestTests {
    private func request(
        _ json: String, _ unknownFields: UnknownFields = .refuse
    ) throws(APIError) -> TurnRequest { try TurnRequest(body: Data(json.utf8), unknownFields: unknownFields) }

    @Test func takesTheLeastAndTheMost() throws {
        let least = try request(#"{"message":"Hi","user_id":"ann"}"#)
        #expect(least.message == "Hi" && least.userID.text == "ann" && least.stop == nil)
        let most = try request(
            #"""
            {"message":"Hi","user_id":7,"context":[{"role":"assistant","content":"x"}],"stream":false,"conversation_id":42,
             "system":"s","max_tokens":5,"temperature":0,"top_p":1,"seed":18446744073709551615,"stop":"END","model":"m",
             "unknown":[]}
            """#, .ignore)
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
        (#"{"message":"x","user_id":"a","top_p":0}"#, "top_p"),
        (#"{"message":"x","user_id":"a","top_p":1e-300}"#, "top_p"),
        (#"{"message":"x","user_id":"a","top_p":1e-46}"#, "top_p"),
        (#"{"message":"x","user_id":"a","seed":-1}"#, "seed"),
        (#"{"message":"x","user_id":"a","stop":[""]}"#, "stop"),
        (#"{"message":"x","user_id":"a","stop":["a","b","c","d","e"]}"#, "stop"),
        (#"{"message":"x""#, "body"), ("[]", "body"), ("", "body"), ("\u{FEFF}nonsense", "body"),
    ])
    func aBadBodyIsRefusedByField(json: String, field: String) {
        let error = #expect(throws: APIError.self) { try request(json) }
        #expect(error?.status == .badRequest)
        #expect(error?.field == field)
    }

    @Test(
        arguments: [
            (#"{"message":"x","user_id":"a","max_token":5}"#, "max_token", "max_tokens"),
            (#"{"message":"x","userid":"a"}"#, "userid", "user_id"),
            (#"{"message":"x","user_id":"a","messages":[]}"#, "messages", "context"),
            (#"{"message":"x","user_id":"a","max_completion_tokens":5}"#, "max_completion_tokens", "max_tokens"),
            (#"{"message":"x","user_id":"a","response_format":{"type":"json"}}"#, "response_format", nil),
            (#"{"message":"x","user_id":"a","tools":[{"name":"f"}]}"#, "tools", nil),
            (
                #"{"message":"x","user_id":"a","context":[{"role":"user","contents":"y"}]}"#, "context[0].contents",
                "content"
            ),
            (
                #"{"message":"x","user_id":"a","context":[{"role":"user","content":"y"},{"name":"b"}]}"#,
                "context[1].name", nil
            ),
        ] as [(String, String, String?)])
    func anUnknownFieldIsRefusedByNameWithTheNearest(json: String, field: String, nearest: String?) throws {
        let error = #expect(throws: APIError.self) { try request(json) }
        #expect(error?.status == .badRequest && error?.field == field)
        #expect(error?.message.contains("did you mean") == (nearest != nil))
        if let nearest { #expect(error?.message.hasSuffix("did you mean \(nearest)?") == true) }
    }

    @Test func unknownFieldsMayBeIgnoredAndAreNamed() throws {
        let json =
            #"{"message":"x","user_id":"a","tools":[{"name":"f"}],"naïve, \u0022":1,"context":[{"role":"user","content":"y","z":1}]}"#
        let taken = try request(json, .ignore)
        #expect(taken.message == "x" && taken.context?.count == 1)
        #expect(TurnRequest.headerValue(taken.ignored) == "tools, na%C3%AFve%2C%20%22, context[0].z")
        let many = (0..<100).map { #""x\#($0)":1"# }.joined(separator: ",")
        #expect(try request(#"{"message":"x","user_id":"a",\#(many)}"#, .ignore).ignored.count == 16)
        let long = String(repeating: "l", count: 100_000)
        #expect(try request(#"{"message":"x","user_id":"a","\#(long)":1}"#, .ignore).ignored[0].name.utf8.count == 64)
    }

    @Test(arguments: [
        #"{"message":"first","user_id":"a","message":"last"}"#,
        #"{"message":"first","user_id":"a","mess\u0061ge" : "last"}"#,
        #"{"message":{"message":1,"message":2},"user_id":"b","message":"last","user_id":"a"}"#,
        #"{"message":"a","message":"b","message":"c","user_id":"a","message":"last"}"#,
        #" { "user_id":"a" , "message" : "}{,\"" , "message":"last" } "#,
    ])
    func ofAFieldThatIsWrittenTwiceTheLastCounts(json: String) throws {
        let taken = try request(json)
        #expect(taken.message == "last" && taken.userID.text == "a")
    }

    @Test func ofAFieldOfAMessageTheLastCountsToo() throws {
        let taken = try request(
            #"{"message":"x","user_id":"a","context":[{"role":"user","content":"1","content":"2"},{"content":"3","role":"user","role":"assistant"}]}"#
        )
        #expect(taken.context?.map(\.content) == ["2", "3"] && taken.context?.last?.role == .assistant)
    }

    @Test func anObjectOfManyFieldsIsRefusedWithTheirBound() throws {
        func body(_ count: Int) -> String {
            #"{"message":"x","user_id":"a",\#((2..<count).map { #""x\#($0)":1"# }.joined(separator: ","))}"#
        }
        #expect(try request(body(1024), .ignore).message == "x")
        let error = #expect(throws: APIError.self) { try request(body(1025), .ignore) }
        #expect(error?.message == "body has an object with more than 1024 fields")
    }

    @Test func aDeepBodyIsRefusedWithItsBoundAndNotRecursedInto() {
        for depth in [512, 100_000] {
            let deep = #"{"message":"x","user_id":"a","context":"# + String(repeating: "[", count: depth)
            let error = #expect(throws: APIError.self) { try request(deep) }
            #expect(error?.message == "body is nested more than 512 levels deep")
        }
        let error = #expect(throws: APIError.self) { try request("[]") }
        #expect(error?.message == "body is not a JSON object")
    }

    @Test(arguments: [
        (#""top_p":0"#, "top_p must be a number between 1e-45 and 1"),
        (#""top_p":1e-300"#, "top_p must be a number between 1e-45 and 1"),
        (#""top_p":1.1"#, "top_p must be a number between 1e-45 and 1"),
        (#""top_p":"a""#, "top_p must be a number between 1e-45 and 1"),
        (#""temperature":3"#, "temperature must be a number between 0 and 2"),
        (#""temperature":1e999"#, "temperature must be a number between 0 and 2"),
        (#""max_tokens":0"#, "max_tokens must be a whole number between 1 and 131072"),
        (#""max_tokens":1e99"#, "max_tokens must be a whole number between 1 and 131072"),
        (#""max_tokens":1.5"#, "max_tokens must be a whole number between 1 and 131072"),
        (#""seed":-1"#, "seed must be a whole number between 0 and 18446744073709551615"),
        (#""conversation_id":0"#, "conversation_id must be a whole number between 1 and 9007199254740991"),
        (#""conversation_id":1.5"#, "conversation_id must be a whole number between 1 and 9007199254740991"),
        (#""stream":"yes""#, "stream must be true or false"), (#""model":7"#, "model must be a string"),
        (#""stop":7"#, "stop must be a string or a list of strings"),
        (#""stop":["a",7]"#, "stop[1] must be a string or a list of strings"),
        (#""context":"y""#, "context must be a list of objects with role and content"),
        (#""context":["y"]"#, "context[0] must be an object with role and content"),
        (
            #""context":[{"role":"robot","content":""}]"#,
            "context[0].role must be one of system, user, assistant"
        ),
        (#""context":[{"role":"user","content":7}]"#, "context[0].content must be a string"),
    ])
    func aRefusalSaysWhatIsAllowed(field: String, message: String) {
        let error = #expect(throws: APIError.self) { try request(#"{"message":"x","user_id":"a",\#(field)}"#) }
        #expect(error?.message == message && error?.status == .badRequest)
    }

    @Test func theLeastThatIsAllowedIsNotNothing() throws {
        let taken = try request(#"{"message":"x","user_id":"a","top_p":1e-45}"#)
        #expect(taken.topP.map { Float($0) } ?? 0 > 0)
    }
}
