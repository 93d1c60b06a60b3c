import ChatCore
import Foundation
import Synchronization
import Testing
import Tracing

@testable import TraceKit

/// Takes what a tracer gives away.
final class Shelf: Sendable {
    private let kept = Mutex<[FinishedSpan]>([])
    var spans: [FinishedSpan] { kept.withLock { $0 } }

    func tracer(share: Double = 1) -> SpanTracer {
        SpanTracer(share: share) { span in self.kept.withLock { $0.append(span) } }
    }
}

private let remote = TraceContext(
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", tracestate: "a=1")

@Suite struct SpanTests {
    @Test func childrenStandInTheTraceOfTheirParents() throws {
        let shelf = Shelf()
        let tracer = shelf.tracer()
        let outer = tracer.startSpan("outer", context: .under(remote), ofKind: .server)
        let inner = ServiceContext.$current.withValue(outer.context) { tracer.startSpan("inner") }
        #expect(ServiceContext.$current.withValue(outer.context) { ServiceContext.current?.activeSpan } === outer)
        inner.end()
        outer.end()
        let spans = shelf.spans
        try #require(spans.map(\.name) == ["inner", "outer"])
        #expect(spans.allSatisfy { $0.trace.trace == remote?.trace && $0.trace.state == "a=1" && $0.end >= $0.start })
        #expect(spans[1].parent == remote?.span && spans[0].parent == spans[1].trace.span)
        #expect(spans[1].kind == .server && spans[0].kind == .internal)
    }

    @Test func withoutAParentATraceBegins() throws {
        let shelf = Shelf()
        shelf.tracer().startSpan("root", context: .topLevel).end()
        shelf.tracer().startSpan("root", context: .under(nil)).end()
        let spans = shelf.spans
        try #require(spans.count == 2)
        #expect(spans.allSatisfy { $0.parent == nil } && spans[0].trace.trace != spans[1].trace.trace)
    }

    @Test func whoIsNotSampledIsNotKeptAndIsPassedOn() {
        let shelf = Shelf()
        let quiet = remote.map { TraceContext(trace: $0.trace, span: $0.span, isSampled: false) }
        let span = shelf.tracer().startSpan("x", context: .under(quiet))
        #expect(!span.isRecording && span.trace.trace == remote?.trace && !span.trace.isSampled)
        span.attributes["a"] = 1
        #expect(span.attributes.isEmpty)
        span.end()
        // The other way round: what begins here is not recorded, what comes recorded is.
        shelf.tracer(share: 0).startSpan("x", context: .topLevel).end()
        #expect(shelf.spans.isEmpty)
        shelf.tracer(share: 0).startSpan("x", context: .under(remote)).end()
        #expect(shelf.spans.count == 1)
    }

    @Test func theShareIsMetAndDependsOnTheIdAlone() {
        var random = SystemRandomNumberGenerator()
        let traces = (0..<4000).map { _ in TraceID(using: &random) }
        let taken = traces.filter(Sampler(share: 0.25).takes)
        // Beyond ten standard deviations.
        #expect((720...1280).contains(taken.count), "\(taken.count) of 4000")
        #expect(taken.allSatisfy(Sampler(share: 0.26).takes))
        #expect(traces.allSatisfy(Sampler(share: 1).takes) && !traces.contains(where: Sampler(share: 0).takes))
    }

    @Test func aSpanEndsOnceAndHearsNothingMore() throws {
        let shelf = Shelf()
        let span = shelf.tracer().startSpan("x", context: .topLevel)
        span.fail("broken")
        span.end()
        span.operationName = "y"
        span.addEvent("late")
        span.end()
        let kept = try #require(shelf.spans.first)
        #expect(shelf.spans.count == 1 && kept.name == "x" && kept.events.isEmpty)
        #expect(kept.status == SpanStatus(code: .error, message: "broken"))
    }

    @Test func aSpanThatNobodyEndsEndsWithItsLastReference() {
        let shelf = Shelf()
        var span: RecordedSpan? = shelf.tracer().startSpan("lost", context: .topLevel)
        #expect(span?.isRecording == true && shelf.spans.isEmpty)
        span = nil
        #expect(shelf.spans.map(\.name) == ["lost"])
    }

    @Test func whatIsTooMuchIsCountedNotKept() throws {
        let shelf = Shelf()
        let span = shelf.tracer().startSpan("x", context: .topLevel)
        for number in 0..<500 { span.addEvent(SpanEvent(name: "\(number)")) }
        for _ in 0..<100 { span.addLink(SpanLink(context: .under(remote), attributes: [:])) }
        span.end()
        let kept = try #require(shelf.spans.first)
        #expect(kept.events.count == RecordedSpan.Limits.events)
        #expect(kept.droppedEvents == 500 - RecordedSpan.Limits.events)
        #expect(kept.links.count == RecordedSpan.Limits.links)
    }

    @Test func anErrorsWordsStayHere() throws {
        struct Telling: Error, CustomStringConvertible { let description = "what the user wrote" }
        let shelf = Shelf()
        let span = shelf.tracer().startSpan("x", context: .topLevel)
        span.recordError(Telling())
        span.end()
        let body = String(
            decoding: try OTLPRequest(shelf.spans, resource: .process(service: "s", instance: "i")).encoded(),
            as: UTF8.self)
        #expect(body.contains("Telling") && !body.contains("what the user wrote"))
    }

    @Test func headersGoInAndOut() throws {
        struct Fields: Injector, Extractor {
            func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) {
                carrier[key] = value
            }
            func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
        }
        let tracer = Shelf().tracer()
        var fields: [String: String] = [:]
        tracer.inject(.under(remote), into: &fields, using: Fields())
        #expect(fields == ["traceparent": remote?.traceparent ?? "", "tracestate": "a=1"])
        var context = ServiceContext.topLevel
        tracer.extract(fields, into: &context, using: Fields())
        #expect(context.trace == remote)
        tracer.extract(["traceparent": "nonsense"], into: &context, using: Fields())
        #expect(context.trace == nil)
    }
}

@Suite struct OTLPRequestTests {
    private func body(_ change: (RecordedSpan) -> Void) throws -> [String: Any] {
        let shelf = Shelf()
        let span = shelf.tracer().startSpan("name", context: .under(remote), ofKind: .producer)
        change(span)
        span.end()
        let bytes = try OTLPRequest(shelf.spans, resource: .process(service: "gateway", instance: "i")).encoded()
        let json = try #require(JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
        let resource = try #require((json["resourceSpans"] as? [[String: Any]])?.first)
        let scope = try #require((resource["scopeSpans"] as? [[String: Any]])?.first)
        return try #require((scope["spans"] as? [[String: Any]])?.first)
    }

    /// By the mapping of the protocol's definition: hexadecimal ids, 64-bit numbers as text, kinds and codes as numbers.
    @Test func aSpanHasTheProtocolsForm() throws {
        let span = try body { span in
            span.attributes = ["text": "a", "number": 7, "half": 0.5, "flag": true, "list": .stringArray(["x", "y"])]
            span.addEvent(SpanEvent(name: "first token", attributes: ["n": 1]))
            span.fail("why")
        }
        #expect(span["traceId"] as? String == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(span["parentSpanId"] as? String == "00f067aa0ba902b7")
        #expect((span["spanId"] as? String)?.count == 16)
        #expect(span["traceState"] as? String == "a=1")
        #expect(span["kind"] as? Int == 4)
        let start = try #require((span["startTimeUnixNano"] as? String).flatMap { UInt64($0) })
        #expect(start > 1_700_000_000_000_000_000)
        let attributes = try #require(span["attributes"] as? [[String: Any]])
        #expect(attributes.compactMap { $0["key"] as? String } == ["flag", "half", "list", "number", "text"])
        let values = attributes.compactMap { $0["value"] as? [String: Any] }
        #expect(values[0]["boolValue"] as? Bool == true && values[1]["doubleValue"] as? Double == 0.5)
        #expect(values[3]["intValue"] as? String == "7" && values[4]["stringValue"] as? String == "a")
        let list = try #require((values[2]["arrayValue"] as? [String: Any])?["values"] as? [[String: String]])
        #expect(list == [["stringValue": "x"], ["stringValue": "y"]])
        let status = try #require(span["status"] as? [String: Any])
        #expect(status["code"] as? Int == 2 && status["message"] as? String == "why")
        #expect((span["events"] as? [[String: Any]])?.first?["name"] as? String == "first token")
    }

    @Test func whatHasNoFormIsLeftOutAndWhatIsLongIsCut() throws {
        let span = try body { span in
            var attributes: SpanAttributes = ["nan": .double(.nan), "infinite": .double(-.infinity)]
            attributes["long"] = String(repeating: "é", count: 10_000)
            span.attributes = attributes
        }
        let attributes = try #require(span["attributes"] as? [[String: Any]])
        #expect(attributes.count == 1 && span["droppedAttributesCount"] as? Int == 2)
        let text = try #require((attributes[0]["value"] as? [String: String])?["stringValue"])
        #expect(text.utf8.count <= RecordedSpan.Limits.textBytes + 3)
        let many = try body { span in
            for number in 0..<1000 { span.attributes["a\(number)"] = number }
        }
        #expect((many["attributes"] as? [Any])?.count == RecordedSpan.Limits.attributes)
    }
}
