import Testing

@testable import gateway

@Suite struct InboundFramingTests {
    /// How the bytes are cut, when they come in pieces of at most `size`.
    private func cuts(
        _ text: String, _ kind: InboundFraming.Kind, by size: Int = .max, _ framing: inout InboundFraming
    ) -> [String]? {
        var cuts: [String] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let window = Array(rest.prefix(size))
            guard case .pass(let count) = window.withUnsafeBytes({ framing.look(at: $0, of: kind) }) else { return nil }
            guard count > 0 else { return nil }
            cuts.append(String(decoding: window.prefix(count), as: UTF8.self))
            rest = rest.dropFirst(count)
        }
        return cuts
    }

    @Test func aHeadIsPassedOnAlone() {
        var framing = InboundFraming(maximumChunk: 100)
        let heads = [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\nGET /b HTTP/1.1\n\n", "POST /c HTTP/1.1\r\nA:\r\n\r\n",
        ]
        #expect(cuts(heads.joined(), .head, &framing) == heads)
        // A byte at a time none is cut, and none is missed.
        #expect(cuts(heads.joined(), .head, by: 1, &framing)?.joined() == heads.joined())
        #expect(cuts("x" + heads[0] + "y", .head, &framing) == ["x" + heads[0], "y"])
    }

    @Test(arguments: [Int.max, 1, 2, 3, 7]) func chunksAreFollowedToTheirEnd(size: Int) {
        var framing = InboundFraming(maximumChunk: 100)
        let body = "3\r\nabc\r\n64;x=1\r\n\(String(repeating: "\n", count: 100))\r\n00 \r\nA: b\r\n\r\n"
        let cut = cuts(body + "GET", .chunked, by: size, &framing)
        #expect(cut?.joined() == body + "GET")
        if size == .max { #expect(cut == [body, "GET"]) }
    }

    @Test(arguments: ["65", "ffffffffffffffff", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "3\r\nabc\r\n000065"])
    func aChunkBeyondTheBoundIsSeenInItsSize(text: String) {
        for size in [Int.max, 1] {
            var framing = InboundFraming(maximumChunk: 100)
            #expect(cuts(text, .chunked, by: size, &framing) == nil)
            // Then nothing is held up.
            #expect(cuts("anything\r\n\r\nat all", .chunked, &framing) == ["anything\r\n\r\nat all"])
        }
    }

    @Test func aMethodIsToldOnlyOfWhatBeginsAsARequest() {
        func method(_ text: String) -> String? {
            var framing = InboundFraming(maximumChunk: 100)
            _ = cuts(text, .head, &framing)
            return framing.method
        }
        #expect(method("FOO / HTTP/1.1\r\n\r\n") == "FOO" && method("\r\nM-SEARCH /x") == "M-SEARCH")
        for text in ["", "FOO", "FOO ", "FOO x", " /", "F\u{e9} /", "<b> /", String(repeating: "F", count: 33) + " /"] {
            #expect(method(text) == nil, "\(text)")
        }
        #expect(method(String(repeating: "F", count: 32) + " /") != nil)
    }
}
