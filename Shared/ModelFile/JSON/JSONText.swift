/// A JSON text (RFC 8259) as a flat list of values that point into its bytes.
///
/// Foundation's reader keys objects by String, whose equality is canonical equivalence: a vocabulary that has both
/// "é" as one scalar and as two would lose a token. Here strings are bytes. Reading takes one pass, memory of 16 bytes
/// for each value, and no recursion; depth, bytes and number of values are bounded.
final class JSONText: Sendable {
    /// The largest tokenizer.json in use has 33 MB and two million values.
    static let byteLimit = 128 << 20
    static let valueLimit = 1 << 23
    static let depthLimit = 64

    enum Kind: UInt8 {
        case null, `true`, `false`, number, string, escapedString, array, object
    }

    struct Node {
        var kind: Kind
        /// Bytes of the value, for strings without their quotes. At most `byteLimit`, as `next` is at most `valueLimit`.
        var start: UInt32
        var end: UInt32
        /// Index of the first node that is not inside this one.
        var next: UInt32
    }

    /// What the text is, for errors: "tokenizer.json".
    let name: String
    let bytes: [UInt8]
    let nodes: [Node]

    init(_ bytes: [UInt8], name: String) throws(ModelFileError) {
        guard bytes.count <= Self.byteLimit else {
            throw ModelFileError(
                offset: nil, field: name, reason: "\(bytes.count) bytes are more than \(Self.byteLimit)")
        }
        var parser = JSONParser(bytes, name: name)
        try parser.parse()
        self.name = name
        self.bytes = bytes
        nodes = parser.nodes
    }
}

/// Fills a list of nodes from the bytes of a JSON text.
private struct JSONParser {
    let bytes: [UInt8]
    let name: String
    var nodes: [JSONText.Node] = []
    private var position = 0
    /// The arrays and objects that are open.
    private var open: [Int] = []

    init(_ bytes: [UInt8], name: String) {
        self.bytes = bytes
        self.name = name
    }

    private func failure(_ reason: String) -> ModelFileError {
        ModelFileError(offset: UInt64(position), field: name, reason: reason)
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    /// The next byte that is no space, 0 at the end: no token of JSON begins with it.
    private mutating func peek() -> UInt8 {
        skipSpace()
        return position < bytes.count ? bytes[position] : 0
    }

    mutating func parse() throws(ModelFileError) {
        try value()
        while let container = open.last {
            let isObject = nodes[container].kind == .object
            let close = UInt8(ascii: isObject ? "}" : "]")
            let isFirst = nodes.count == container + 1
            let byte = peek()
            if byte == close {
                position += 1
                nodes[container].end = UInt32(position)
                nodes[container].next = UInt32(nodes.count)
                open.removeLast()
                continue
            }
            if !isFirst {
                guard byte == UInt8(ascii: ",") else { throw failure("a comma or the end of a list is missing") }
                position += 1
            }
            if isObject {
                guard peek() == UInt8(ascii: "\"") else { throw failure("a member's name is missing") }
                try string()
                guard peek() == UInt8(ascii: ":") else { throw failure("a colon is missing") }
                position += 1
            }
            try value()
        }
        guard peek() == 0, position == bytes.count else { throw failure("something follows the end of the text") }
    }

    private mutating func add(_ kind: JSONText.Kind, from start: Int) throws(ModelFileError) {
        guard nodes.count < JSONText.valueLimit else { throw failure("more than \(JSONText.valueLimit) values") }
        nodes.append(
            JSONText.Node(
                kind: kind, start: UInt32(start), end: UInt32(position), next: UInt32(nodes.count + 1)))
    }

    private mutating func value() throws(ModelFileError) {
        let byte = peek()
        let start = position
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard open.count < JSONText.depthLimit else {
                throw failure("values are nested more than \(JSONText.depthLimit) deep")
            }
            open.append(nodes.count)
            position += 1
            try add(byte == UInt8(ascii: "{") ? .object : .array, from: start)
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try word("true", .true)
        case UInt8(ascii: "f"): try word("false", .false)
        case UInt8(ascii: "n"): try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            while position < bytes.count {
                switch bytes[position] {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
                    UInt8(ascii: "e"), UInt8(ascii: "E"):
                    position += 1
                    continue
                default: break
                }
                break
            }
            try add(.number, from: start)
        default: throw failure("no value begins here")
        }
    }

    private mutating func word(_ text: StaticString, _ kind: JSONText.Kind) throws(ModelFileError) {
        let start = position
        let end = start + text.utf8CodeUnitCount
        let isEqual = end <= bytes.count && text.withUTF8Buffer { bytes[start..<end].elementsEqual($0) }
        guard isEqual else { throw failure("no value begins here") }
        position = end
        try add(kind, from: start)
    }

    private mutating func string() throws(ModelFileError) {
        position += 1
        let start = position
        var isEscaped = false
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                try add(isEscaped ? .escapedString : .string, from: start)
                position += 1
                return
            case UInt8(ascii: "\\"):
                isEscaped = true
                // A text may end here; an error stands inside it.
                position = min(position + 2, bytes.count)
            case 0..<0x20: throw failure("a control character inside a string")
            default: position += 1
            }
        }
        throw failure("a string has no end")
    }
}
