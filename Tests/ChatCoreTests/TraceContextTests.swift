import ChatCore
import Testing

@Suite struct TraceContextTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let span = "00f067aa0ba902b7"
    private static let whole = "00-\(trace)-\(span)-01"

    @Test func readsAndWritesTheHeader() throws {
        let context = try #require(TraceContext(traceparent: Self.whole, tracestate: "a=1,b=2"))
        #expect(context.trace.description == Self.trace)
        #expect(context.span.description == Self.span)
        #expect(context.isSampled)
        #expect(context.state == "a=1,b=2")
        #expect(context.traceparent == Self.whole)
        let idle = try #require(TraceContext(traceparent: "00-\(Self.trace)-\(Self.span)-00"))
        #expect(!idle.isSampled && idle.traceparent.hasSuffix("-00"))
    }

    @Test func aLaterVersionCountsAsFarAsItIsKnown() {
        #expect(TraceContext(traceparent: "01-\(Self.trace)-\(Self.span)-03-more")?.traceparent == Self.whole)
        #expect(TraceContext(traceparent: "cc-\(Self.trace)-\(Self.span)-01") != nil)
    }

    @Test(arguments: [
        "", "00", whole + "-", whole + "-more", whole + " ", "ff-\(trace)-\(span)-01", "0-\(trace)-\(span)-01",
        "00-\(trace.uppercased())-\(span)-01", "00-\(String(repeating: "0", count: 32))-\(span)-01",
        "00-\(trace)-\(String(repeating: "0", count: 16))-01", "00-\(trace)-\(span)-0g", "00-\(trace)_\(span)-01",
        "00-\(trace)-\(span)", "01-\(trace)-\(span)-01more", "\(whole), \(whole)",
        "01-\(trace)-\(span)-01-" + String(repeating: "x", count: 300), "00-é\(trace.dropFirst(2))-\(span)-01",
    ])
    func whatIsMalformedIsNoContext(_ text: String) {
        #expect(TraceContext(traceparent: text) == nil)
    }

    @Test(arguments: ["", "a=\u{7F}", "a=é", "a=1\r\nX: y", String(repeating: "x", count: 513)])
    func aBadStateIsLeftOut(_ state: String) throws {
        let context = try #require(TraceContext(traceparent: Self.whole, tracestate: state))
        #expect(context.state == nil)
    }

    @Test func idsKeepTheirZeros() {
        #expect(TraceID(high: 0, low: 1)?.description == String(repeating: "0", count: 31) + "1")
        #expect(SpanID(0xF)?.description == "000000000000000f")
        #expect(SpanID(0) == nil && TraceID(high: 0, low: 0) == nil)
    }
}
