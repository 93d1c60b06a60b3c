import ChatCore
import Foundation
import Tracing

/// The body of one export: OTLP's `ExportTraceServiceRequest` in its JSON form
/// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids in hexadecimal, 64-bit numbers as text.
struct OTLPRequest: Encodable {
    let resourceSpans: [ResourceSpans]

    init(_ spans: [FinishedSpan], resource: Resource) {
        resourceSpans = [
            ResourceSpans(
                resource: resource,
                scopeSpans: [ScopeSpans(scope: Scope(name: "switchboard"), spans: spans.map(Span.init))])
        ]
    }

    func encoded() throws -> [UInt8] { Array(try JSONEncoder().encode(self)) }

    struct ResourceSpans: Encodable {
        let resource: Resource
        let scopeSpans: [ScopeSpans]
    }

    /// Which process the spans are of.
    struct Resource: Encodable, Sendable {
        let attributes: [Attribute]

        static func process(service: String, instance: String) -> Resource {
            let texts = [
                ("service.namespace", "switchboard"), ("service.name", service), ("service.instance.id", instance),
                ("host.name", ProcessInfo.processInfo.hostName), ("telemetry.sdk.language", "swift"),
            ]
            var attributes = texts.map { Attribute(key: $0.0, value: .text($0.1)) }
            attributes.append(
                Attribute(key: "process.pid", value: .integer(Int64(ProcessInfo.processInfo.processIdentifier))))
            return Resource(attributes: attributes)
        }
    }

    struct ScopeSpans: Encodable {
        let scope: Scope
        let spans: [Span]
    }

    struct Scope: Encodable { let name: String }

    struct Span: Encodable {
        let traceId: String
        let spanId: String
        let traceState: String?
        let parentSpanId: String?
        let name: String
        let kind: Int
        let startTimeUnixNano: String
        let endTimeUnixNano: String
        let attributes: [Attribute]
        let droppedAttributesCount: Int
        let events: [Event]
        let droppedEventsCount: Int
        let links: [Link]
        let status: Status?

        init(_ span: FinishedSpan) {
            traceId = span.trace.trace.description
            spanId = span.trace.span.description
            traceState = span.trace.state
            parentSpanId = span.parent?.description
            name = AttributeValue.bounded(span.name)
            kind = Span.number(of: span.kind)
            startTimeUnixNano = String(span.start)
            endTimeUnixNano = String(span.end)
            attributes = Attribute.all(of: span.attributes)
            droppedAttributesCount = span.attributes.count - attributes.count
            events = span.events.map(Event.init)
            droppedEventsCount = span.droppedEvents
            links = span.links.map {
                Link(traceId: $0.trace.description, spanId: $0.span.description, traceState: $0.state)
            }
            status = span.status.map {
                Status(code: $0.code == .error ? 2 : 1, message: $0.message.map(AttributeValue.bounded))
            }
        }

        private static func number(of kind: SpanKind) -> Int {
            switch kind {
            case .internal: 1
            case .server: 2
            case .client: 3
            case .producer: 4
            case .consumer: 5
            }
        }
    }

    struct Event: Encodable {
        let timeUnixNano: String
        let name: String
        let attributes: [Attribute]

        init(_ event: SpanEvent) {
            timeUnixNano = String(event.nanosecondsSinceEpoch)
            name = AttributeValue.bounded(event.name)
            attributes = Attribute.all(of: event.attributes)
        }
    }

    struct Link: Encodable {
        let traceId: String
        let spanId: String
        let traceState: String?
    }

    struct Status: Encodable {
        let code: Int
        let message: String?
    }
}
