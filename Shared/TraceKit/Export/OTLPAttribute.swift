import Tracing

extension OTLPRequest {
    struct Attribute: Encodable {
        let key: String
        let value: AttributeValue

        /// In the order of their names, at most as many as a span may have; without those that JSON has no form for.
        static func all(of attributes: SpanAttributes) -> [Attribute] {
            var all: [Attribute] = []
            attributes.forEach { key, value in
                if let value = AttributeValue(value) { all.append(Attribute(key: key, value: value)) }
            }
            all.sort { $0.key < $1.key }
            return Array(all.prefix(RecordedSpan.Limits.attributes))
        }
    }

    /// OTLP's `AnyValue`: an object whose one member says the type.
    enum AttributeValue: Encodable {
        case text(String)
        case integer(Int64)
        case number(Double)
        case flag(Bool)
        case list([AttributeValue])

        init?(_ value: SpanAttribute) {
            switch value {
            case .string(let text): self = .text(text)
            case .int32(let number): self = .integer(Int64(number))
            case .int64(let number): self = .integer(number)
            case .double(let number):
                guard number.isFinite else { return nil }
                self = .number(number)
            case .bool(let flag): self = .flag(flag)
            case .stringArray(let texts): self = .list(texts.map { .text($0) })
            case .int32Array(let numbers): self = .list(numbers.map { .integer(Int64($0)) })
            case .int64Array(let numbers): self = .list(numbers.map { .integer($0) })
            case .boolArray(let flags): self = .list(flags.map { .flag($0) })
            case .doubleArray(let numbers): self = .list(numbers.filter(\.isFinite).map { .number($0) })
            case .stringConvertible(let value): self = .text("\(value)")
            case .stringConvertibleArray(let values): self = .list(values.map { .text("\($0)") })
            default: return nil
            }
        }

        static func bounded(_ text: String) -> String {
            let limit = RecordedSpan.Limits.textBytes
            return text.utf8.count <= limit ? text : String(decoding: text.utf8.prefix(limit), as: UTF8.self)
        }

        private enum Key: String, CodingKey { case stringValue, intValue, doubleValue, boolValue, arrayValue }
        private struct List: Encodable { let values: [AttributeValue] }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            switch self {
            case .text(let text): try container.encode(AttributeValue.bounded(text), forKey: .stringValue)
            case .integer(let number): try container.encode(String(number), forKey: .intValue)
            case .number(let number): try container.encode(number, forKey: .doubleValue)
            case .flag(let flag): try container.encode(flag, forKey: .boolValue)
            case .list(let values):
                let bounded = List(values: Array(values.prefix(RecordedSpan.Limits.attributes)))
                try container.encode(bounded, forKey: .arrayValue)
            }
        }
    }
}
