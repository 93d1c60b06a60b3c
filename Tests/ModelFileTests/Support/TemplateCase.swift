import Foundation

@testable import ModelFile

/// One rendering by jinja2: a line of what `Tests/Reference/render_templates.py` writes.
struct TemplateCase: Decodable {
    let name: String
    let template: String
    private(set) var context: [String: Tagged]?
    private(set) var now: Int?
    /// What jinja2 made of it; nil when it refused.
    let expected: String?

    /// A value with its type and the order of its keys.
    enum Tagged: Decodable {
        case null, bool(Bool), int(Int), float(Double), text(String), list([Tagged]), dictionary([(String, Tagged)])

        private enum Tag: String, CodingKey { case i, f, s, l, d }

        init(from decoder: any Decoder) throws {
            if let single = try? decoder.singleValueContainer() {
                if single.decodeNil() { self = .null; return }
                if let value = try? single.decode(Bool.self) { self = .bool(value); return }
            }
            let container = try decoder.container(keyedBy: Tag.self)
            if let value = try container.decodeIfPresent(Int.self, forKey: .i) {
                self = .int(value)
            } else if let value = try container.decodeIfPresent(Double.self, forKey: .f) {
                self = .float(value)
            } else if let value = try container.decodeIfPresent(String.self, forKey: .s) {
                self = .text(value)
            } else if let value = try container.decodeIfPresent([Tagged].self, forKey: .l) {
                self = .list(value)
            } else {
                var entries: [(String, Tagged)] = []
                var list = try container.nestedUnkeyedContainer(forKey: .d)
                while !list.isAtEnd {
                    var pair = try list.nestedUnkeyedContainer()
                    entries.append((try pair.decode(String.self), try pair.decode(Tagged.self)))
                }
                self = .dictionary(entries)
            }
        }

        func value() throws -> Jinja.Value {
            switch self {
            case .null: return .null
            case .bool(let value): return .bool(value)
            case .int(let value): return .int(value)
            case .float(let value): return .float(value)
            case .text(let text): return .text(Jinja.Text(untrusted: text))
            case .list(let elements): return .list(try Jinja.List(elements.map { try $0.value() }, Jinja.Limits()))
            case .dictionary(let entries):
                var dictionary = Jinja.Dictionary()
                for (key, value) in entries { try dictionary.set(.string(key), try value.value(), Jinja.Limits()) }
                return .dictionary(dictionary)
            }
        }
    }

    static func read(_ url: URL) throws -> [TemplateCase] {
        let decoder = JSONDecoder()
        var cases: [TemplateCase] = []
        for line in try Data(contentsOf: url).split(separator: 0x0A) {
            var sample = try decoder.decode(Self.self, from: line)
            if sample.context == nil {
                sample.context = cases.last?.context
                sample.now = cases.last?.now
            }
            cases.append(sample)
        }
        return cases
    }

    func render() throws -> Jinja.Text {
        try Jinja.Template(template).render(
            (context ?? [:]).mapValues { try $0.value() }, now: Jinja.CivilTime(unixTime: now ?? 0))
    }
}
