import ChatClient
import Testing

@Suite struct TurnFollowerTests {
    private func token(_ index: Int) -> EventStreamParser.Event {
        .init(id: "\(index)", data: #"{"token":"\#(index)","done":false}"#)
    }

    private let end = EventStreamParser.Event(
        data: """
            {"token":"","done":true,"status":"done","finish_reason":"stop","conversation_id":7,"model":"m",
            "usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4},"processing_time":0.5}
            """)

    @Test func givesEachTokenOnceOverTwoConnections() throws {
        var follower = TurnFollower()
        #expect(follower.lastEventID == nil)
        for index in 0..<3 { #expect(try follower.take(token(index)) == .token(index: index, text: "\(index)")) }
        #expect(follower.lastEventID == "2")
        // The next gateway repeats what this client has seen.
        #expect(try follower.take(token(1)) == nil)
        #expect(try follower.take(token(2)) == nil)
        #expect(try follower.take(token(3)) == .token(index: 3, text: "3"))
        #expect(try follower.take(end) == nil)
        #expect(follower.end?.end.status == "done" && follower.end?.end.conversationID == 7)
        // Nothing follows the end.
        #expect(try follower.take(token(4)) == nil)
        #expect(follower.next == 4 && follower.duplicates == 2 && follower.gaps == 0)
    }

    @Test func whoOnlyCountsChecksAsMuch() throws {
        var follower = TurnFollower(readsTexts: false)
        #expect(try follower.take(token(0)) == .token(index: 0, text: ""))
        #expect(try follower.take(token(0)) == nil && follower.duplicates == 1)
        #expect(throws: ChatClientError.self) { try follower.take(token(2)) }
        #expect(try follower.take(.init(name: "queue", data: "{}")) == .notice(name: "queue", data: "{}"))
        #expect(try follower.take(token(1)) == .token(index: 1, text: ""))
        #expect(try follower.take(end) == nil && follower.end?.end.usage.completionTokens == 3 && follower.gaps == 1)
    }

    @Test func aMissingTokenEndsTheConnectionAndIsAskedForAgain() throws {
        var follower = TurnFollower()
        _ = try follower.take(token(0))
        #expect(throws: ChatClientError.self) { try follower.take(token(2)) }
        #expect(follower.lastEventID == "0" && follower.gaps == 1)
    }

    @Test func otherEventsAreNoticesAndRubbishIsAnError() throws {
        var follower = TurnFollower(next: 5)
        #expect(follower.lastEventID == "4")
        #expect(
            try follower.take(.init(name: "queue", data: #"{"place":3}"#))
                == .notice(name: "queue", data: #"{"place":3}"#))
        #expect(try follower.take(.init(data: "[DONE]")) == nil)
        for data in ["", "[]", "{", "null", #"{"done":true}"#] {
            #expect(throws: ChatClientError.self) { try follower.take(.init(id: "5", data: data)) }
        }
        for id in ["-1", "x", "99999999999999999999"] {
            #expect(throws: ChatClientError.self) { try follower.take(.init(id: id, data: #"{"token":"a"}"#)) }
        }
        #expect(follower.next == 5)
    }
}
