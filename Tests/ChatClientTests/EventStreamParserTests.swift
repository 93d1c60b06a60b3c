import ChatClient
import Testing

@Suite struct EventStreamParserTests {
    private typealias Item = EventStreamParser.Item

    private func parse(_ text: String, splitAt split: Int? = nil) throws -> [EventStreamParser.Item] {
        var parser = EventStreamParser()
        let bytes = Array(text.utf8)
        guard let split else { return try parser.feed(bytes) }
        return try parser.feed(bytes[..<split]) + parser.feed(bytes[split...])
    }

    @Test func readsWhatTheGatewayWrites() throws {
        let text = ": waiting\n\nid: 0\ndata: {\"token\":\"é\"}\n\nretry: 250\n\ndata: [DONE]\n\n"
        #expect(
            try parse(text) == [
                .comment, .event(.init(id: "0", data: "{\"token\":\"é\"}")), .retry(.milliseconds(250)),
                .event(.init(data: "[DONE]")),
            ])
    }

    /// Pieces end anywhere: inside a scalar, between carriage return and line feed, inside a field's name.
    @Test func everySplitGivesTheSame() throws {
        let text = "\u{FEFF}event: queue\r\ndata: 東京\r\ndata:👩‍👩‍👧\r\rid\ndata\n\n:\n\nid: 7\ndata: x\ry: z\n\nretry: 9\n\n"
        let whole = try parse(text)
        #expect(
            whole == [
                .event(.init(name: "queue", data: "東京\n👩‍👩‍👧")), .event(.init(id: "", data: "")), .comment,
                .event(.init(id: "7", data: "x")), .retry(.milliseconds(9)),
            ])
        for split in 0...text.utf8.count { #expect(try parse(text, splitAt: split) == whole, "split at \(split)") }
    }

    @Test func unfinishedUselessAndHostileFieldsGiveNothing() throws {
        #expect(try parse("id: 3\n\nevent: x\n\n") == [])  // no data, no event
        #expect(try parse("data: cut off\n") == [])
        #expect(try parse("retry: -1\nretry: 1e3\nretry: 99999999999999999999\nretry:\n\n") == [])
        #expect(try parse("id: a\0b\ndata: x\n\n") == [.event(.init(data: "x"))])
    }

    @Test func whatAServerMayMakeUsKeepIsBounded() throws {
        var parser = EventStreamParser()
        _ = try parser.feed(repeatElement(120, count: EventStreamParser.maximumLineBytes))
        #expect(throws: ChatClientError.self) { try parser.feed([120]) }

        parser = EventStreamParser()
        let line = Array("data: ".utf8) + Array(repeating: 120, count: EventStreamParser.maximumLineBytes - 6) + [10]
        #expect(throws: ChatClientError.self) { for _ in 0...4 { _ = try parser.feed(line) } }
    }
}
