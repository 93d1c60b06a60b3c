extension Jinja.Text {
    struct Scalar {
        let value: Unicode.Scalar
        /// Bytes.
        let range: Range<Int>
    }

    /// The code point that begins at `start`.
    func scalar(at start: Int) -> Scalar {
        let first = bytes[start]
        let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        let end = min(start + length, bytes.count)
        guard length > 1 else { return Scalar(value: Unicode.Scalar(first), range: start..<end) }
        var value = UInt32(first) & (length == 2 ? 0x1F : length == 3 ? 0x0F : 0x07)
        for index in start + 1..<end { value = value << 6 | UInt32(bytes[index] & 0x3F) }
        return Scalar(value: Unicode.Scalar(value) ?? "\u{FFFD}", range: start..<end)
    }

    var scalars: some Sequence<Scalar> {
        sequence(state: 0) { (position: inout Int) -> Scalar? in
            guard position < bytes.count else { return nil }
            let scalar = scalar(at: position)
            position = scalar.range.upperBound
            return scalar
        }
    }

    /// Byte positions of the code points, and the end.
    var boundaries: [Int] {
        var result = bytes.indices.filter { bytes[$0] & 0xC0 != 0x80 }
        result.append(bytes.count)
        return result
    }

    /// Every code point by what `change` makes of it; the result comes from where the code point came from.
    func mapScalars(_ change: (Unicode.Scalar) -> String) -> Jinja.Text {
        var text = Jinja.Text()
        for scalar in scalars {
            text.append(change(scalar.value).utf8, trusted: isTrusted(scalar.range.lowerBound))
        }
        return text
    }

    var uppercased: Jinja.Text { mapScalars { $0.properties.uppercaseMapping } }
    var lowercased: Jinja.Text { mapScalars { $0.properties.lowercaseMapping } }

    var capitalized: Jinja.Text {
        guard !isEmpty else { return self }
        let first = scalar(at: 0).range
        var text = slice(first).mapScalars { $0.properties.titlecaseMapping }
        text.append(slice(first.upperBound..<count).lowercased)
        return text
    }

    /// The first letter of each word large and the others small, where a word begins after what `isBreak` says.
    func titlecased(after isBreak: (Unicode.Scalar) -> Bool) -> Jinja.Text {
        var isStart = true
        return mapScalars { scalar in
            defer { isStart = isBreak(scalar) }
            return isStart ? scalar.properties.titlecaseMapping : scalar.properties.lowercaseMapping
        }
    }
}

extension Unicode.Scalar {
    /// What Python's `str.isspace` takes for whitespace.
    var isPythonSpace: Bool {
        value < 0x80
            ? value == 0x20 || (0x09...0x0D).contains(value) || (0x1C...0x1F).contains(value)
            : properties.isWhitespace
    }

    /// What Python's `repr` writes as it is.
    var isPythonPrintable: Bool {
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        case .spaceSeparator: self == " "
        default: true
        }
    }
}
