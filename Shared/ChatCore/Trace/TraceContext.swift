/// Whose work something is part of, across processes: a trace, and the span in it that asked for the work.
///
/// W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context/): the text of the headers `traceparent` and
/// `tracestate`. What comes from outside and is malformed is no context; it is never an error of what it came with.
public struct TraceContext: Sendable, Hashable {
    public let trace: TraceID
    public let span: SpanID
    /// Whether whoever began the trace records it.
    public let isSampled: Bool
    /// What other tracing systems keep in the trace, passed on as it came.
    public let state: String?

    public init(trace: TraceID, span: SpanID, isSampled: Bool, state: String? = nil) {
        self.trace = trace
        self.span = span
        self.isSampled = isSampled
        self.state = state
    }

    /// The headers' names.
    public static let parentName = "traceparent"
    public static let stateName = "tracestate"

    /// The header `traceparent`, in version 00.
    public var traceparent: String { "00-\(trace)-\(span)-\(isSampled ? "01" : "00")" }

    /// - Returns: nil for what is no `traceparent`. A later version counts as far as version 00 understands it. A
    ///   `tracestate` that is too long or contains what no header may is left out.
    public init?(traceparent: String?, tracestate: String? = nil) {
        guard let traceparent, traceparent.utf8.count <= TraceContext.maximumParentBytes else { return nil }
        // version "-" trace "-" span "-" flags, and from version 01 on perhaps "-" and more.
        let bytes = Array(traceparent.utf8)
        guard bytes.count >= 55, [2, 35, 52].allSatisfy({ bytes[$0] == UInt8(ascii: "-") }),
            let version = UInt64(lowercaseHex: bytes[0..<2]), version != 0xFF,
            bytes.count == 55 || version > 0 && bytes[55] == UInt8(ascii: "-"),
            let high = UInt64(lowercaseHex: bytes[3..<19]), let low = UInt64(lowercaseHex: bytes[19..<35]),
            let trace = TraceID(high: high, low: low),
            let span = UInt64(lowercaseHex: bytes[36..<52]).flatMap({ SpanID($0) }),
            let flags = UInt64(lowercaseHex: bytes[53..<55])
        else { return nil }
        self.init(
            trace: trace, span: span, isSampled: flags & 1 == 1,
            state: tracestate.flatMap { TraceContext.isState($0) ? $0 : nil })
    }

    /// A later version may be longer than 55 bytes, but not without end.
    static let maximumParentBytes = 256
    /// What the standard asks everybody to pass on.
    static let maximumStateBytes = 512

    private static func isState(_ text: String) -> Bool {
        (1...maximumStateBytes).contains(text.utf8.count) && text.utf8.allSatisfy { (0x20...0x7E).contains($0) }
    }
}

/// 16 bytes, not all of them zero; as text 32 lower-case hexadecimal digits.
public struct TraceID: Sendable, Hashable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    public init?(high: UInt64, low: UInt64) {
        guard high | low != 0 else { return nil }
        (self.high, self.low) = (high, low)
    }

    public init(using random: inout some RandomNumberGenerator) {
        (high, low) = (random.next(), .random(in: 1 ... .max, using: &random))
    }

    public var description: String { high.lowercaseHex + low.lowercaseHex }
}

/// 8 bytes, not all of them zero; as text 16 lower-case hexadecimal digits.
public struct SpanID: Sendable, Hashable, CustomStringConvertible {
    public let value: UInt64

    public init?(_ value: UInt64) {
        guard value != 0 else { return nil }
        self.value = value
    }

    public init(using random: inout some RandomNumberGenerator) { value = .random(in: 1 ... .max, using: &random) }

    public var description: String { value.lowercaseHex }
}

extension UInt64 {
    /// The standard knows no upper case: what has some is malformed.
    fileprivate init?(lowercaseHex digits: ArraySlice<UInt8>) {
        self = 0
        for digit in digits {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            default: return nil
            }
            self = self << 4 | UInt64(value)
        }
    }

    fileprivate var lowercaseHex: String {
        let text = String(self, radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }
}
