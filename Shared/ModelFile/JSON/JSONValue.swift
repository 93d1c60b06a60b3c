/// A value inside a JSON text, with the way to it for errors.
struct JSONValue: Sendable {
    let text: JSONText
    fileprivate let node: Int
    /// Names from the root, `model.vocab`.
    let path: String
    /// Index in the array at `path`, -1 outside of arrays; kept apart so that walking a long array makes no strings.
    fileprivate let element: Int

    init(_ bytes: [UInt8], name: String) throws(ModelFileError) {
        text = try JSONText(bytes, name: name)
        node = 0
        path = ""
        element = -1
    }

    fileprivate init(text: JSONText, node: Int, path: String, element: Int = -1) {
        self.text = text
        self.node = node
        self.path = path
        self.element = element
    }

    var kind: JSONText.Kind { text.nodes[node].kind }
    var isNull: Bool { kind == .null }

    /// `model.vocab`, or `model.merges[7]`.
    var place: String { element < 0 ? path : "\(path)[\(element)]" }

    func refusal(_ reason: String) -> ModelFileError {
        ModelFileError(
            offset: UInt64(text.nodes[node].start), field: "\(text.name) '\(place.isEmpty ? "." : place)'",
            reason: reason)
    }

    /// A member of an object, the last one of that name; nil where it is missing or null.
    subscript(name: String) -> JSONValue? {
        guard kind == .object else { return nil }
        var found: Int?
        var index = node + 1
        let end = Int(text.nodes[node].next)
        while index < end {
            if name.utf8.elementsEqual(text.string(index)) { found = index + 1 }
            index = Int(text.nodes[index + 1].next)
        }
        guard let found, text.nodes[found].kind != .null else { return nil }
        return JSONValue(text: text, node: found, path: place.isEmpty ? name : "\(place).\(name)")
    }

    func required(_ name: String) throws(ModelFileError) -> JSONValue {
        guard let value = self[name] else { throw refusal("has no '\(name)'") }
        return value
    }

    /// How many elements or members there are.
    var count: Int {
        var count = 0
        forEachChild { _ in count += 1 }
        return kind == .object ? count / 2 : count
    }

    /// The elements of an array, in order.
    func forEachElement(_ body: (JSONValue) throws(ModelFileError) -> Void) throws(ModelFileError) {
        guard kind == .array else { throw refusal("is no array") }
        var index = node + 1
        var element = 0
        let path = place
        while index < Int(text.nodes[node].next) {
            try body(JSONValue(text: text, node: index, path: path, element: element))
            index = Int(text.nodes[index].next)
            element += 1
        }
    }

    func elements() throws(ModelFileError) -> [JSONValue] {
        var elements: [JSONValue] = []
        try forEachElement { (element) throws(ModelFileError) in elements.append(element) }
        return elements
    }

    /// The members of an object, in order: the bytes of their names, and the values.
    func forEachMember(
        _ body: (ArraySlice<UInt8>, JSONValue) throws(ModelFileError) -> Void
    ) throws(ModelFileError) {
        guard kind == .object else { throw refusal("is no object") }
        var index = node + 1
        let path = place
        while index < Int(text.nodes[node].next) {
            try body(text.string(index), JSONValue(text: text, node: index + 1, path: path))
            index = Int(text.nodes[index + 1].next)
        }
    }

    /// The bytes of a string with its escapes resolved.
    func stringBytes() throws(ModelFileError) -> ArraySlice<UInt8> {
        guard kind == .string || kind == .escapedString else { throw refusal("is no string") }
        return text.string(node)
    }

    func string() throws(ModelFileError) -> String {
        guard let string = String(validating: try stringBytes(), as: UTF8.self) else { throw refusal("is not UTF-8") }
        return string
    }

    func bool() throws(ModelFileError) -> Bool {
        switch kind {
        case .true: return true
        case .false: return false
        default: throw refusal("is neither true nor false")
        }
    }

    func int(in range: ClosedRange<Int>) throws(ModelFileError) -> Int {
        guard kind == .number, let number = Int(literal) else { throw refusal("is no integer") }
        guard range.contains(number) else {
            throw refusal("\(number) is not in \(range.lowerBound)...\(range.upperBound)")
        }
        return number
    }

    /// A finite number.
    func double() throws(ModelFileError) -> Double {
        guard kind == .number, let number = Double(literal), number.isFinite else { throw refusal("is no number") }
        return number
    }

    private var literal: String {
        String(decoding: text.bytes[Int(text.nodes[node].start)..<Int(text.nodes[node].end)], as: UTF8.self)
    }

    private func forEachChild(_ body: (Int) -> Void) {
        guard kind == .array || kind == .object else { return }
        var index = node + 1
        while index < Int(text.nodes[node].next) {
            body(index)
            index = Int(text.nodes[index].next)
        }
    }
}

extension JSONText {
    /// The bytes of the string at a node. An escape that is none stands for itself; half of a surrogate pair becomes
    /// U+FFFD.
    fileprivate func string(_ index: Int) -> ArraySlice<UInt8> {
        let node = nodes[index]
        let raw = bytes[Int(node.start)..<Int(node.end)]
        return node.kind == .escapedString ? Self.unescaped(raw)[...] : raw
    }

    private static func unescaped(_ raw: ArraySlice<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(raw.count)
        var index = raw.startIndex
        while index < raw.endIndex {
            guard raw[index] == UInt8(ascii: "\\"), index + 1 < raw.endIndex else {
                output.append(raw[index])
                index += 1
                continue
            }
            index += 2
            switch raw[index - 1] {
            case UInt8(ascii: "n"): output.append(0x0A)
            case UInt8(ascii: "r"): output.append(0x0D)
            case UInt8(ascii: "t"): output.append(0x09)
            case UInt8(ascii: "b"): output.append(0x08)
            case UInt8(ascii: "f"): output.append(0x0C)
            case UInt8(ascii: "u"):
                var unit = codeUnit(raw[index...]) ?? 0xFFFD
                index = min(index + 4, raw.endIndex)
                let isPair = (0xD800..<0xDC00).contains(unit) && raw[index...].starts(with: [0x5C, 0x75])
                if isPair, let low = codeUnit(raw[(index + 2)...]), (0xDC00..<0xE000).contains(low) {
                    unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
                    index += 6
                }
                output.append(contentsOf: Unicode.UTF8.encode(Unicode.Scalar(unit) ?? "\u{FFFD}") ?? .init())
            case let byte: output.append(byte)
            }
        }
        return output
    }

    private static func codeUnit(_ digits: ArraySlice<UInt8>) -> UInt32? {
        guard digits.count >= 4 else { return nil }
        var value: UInt32 = 0
        for byte in digits.prefix(4) {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
            value = value << 4 | UInt32(digit)
        }
        return value
    }
}
