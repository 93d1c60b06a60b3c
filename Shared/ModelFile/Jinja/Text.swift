extension Jinja {
    /// A string that knows which of its bytes come from the template: only those may become control tokens. It is kept
    /// through every operation, so that what a user writes stays text however a template cuts and joins it.
    ///
    /// Positions are bytes of UTF-8; equality and order are those of the bytes, which is the order of code points.
    struct Text: Sendable {
        private(set) var bytes: [UInt8] = []
        /// Ranges of `bytes` that the template wrote: ascending, not empty, neither overlapping nor touching.
        private(set) var trusted: [Range<Int>] = []

        init() {}

        /// Text of the template.
        init(_ text: some StringProtocol) {
            bytes = Array(text.utf8)
            if !bytes.isEmpty { trusted = [0..<bytes.count] }
        }

        init(trusting bytes: some Collection<UInt8>) {
            self.bytes = Array(bytes)
            if !bytes.isEmpty { trusted = [0..<bytes.count] }
        }

        /// Text of a message.
        init(untrusted text: String) { bytes = Array(text.utf8) }

        var isEmpty: Bool { bytes.isEmpty }
        var count: Int { bytes.count }
        /// Code points.
        var length: Int { bytes.count { $0 & 0xC0 != 0x80 } }
        var string: String { String(decoding: bytes, as: UTF8.self) }

        func isTrusted(_ index: Int) -> Bool {
            let after = firstRange(endingAfter: index)
            return after < trusted.count && trusted[after].contains(index)
        }

        mutating func append(_ other: Text) {
            let start = bytes.count
            bytes += other.bytes
            for range in other.trusted { trust(range.lowerBound + start..<range.upperBound + start) }
        }

        mutating func append(_ other: Text, _ range: Range<Int>) {
            let shift = bytes.count - range.lowerBound
            bytes += other.bytes[range]
            var index = other.firstRange(endingAfter: range.lowerBound)
            while index < other.trusted.count, other.trusted[index].lowerBound < range.upperBound {
                let part = other.trusted[index].clamped(to: range)
                trust(part.lowerBound + shift..<part.upperBound + shift)
                index += 1
            }
        }

        /// Appends bytes that stand for others: an escape, a letter in another case.
        mutating func append(_ new: some Collection<UInt8>, trusted isTrusted: Bool) {
            let start = bytes.count
            bytes += new
            if isTrusted, !new.isEmpty { trust(start..<bytes.count) }
        }

        func slice(_ range: Range<Int>) -> Text {
            var text = Text()
            text.append(self, range)
            return text
        }

        private mutating func trust(_ range: Range<Int>) {
            if let last = trusted.last, last.upperBound == range.lowerBound {
                trusted[trusted.count - 1] = last.lowerBound..<range.upperBound
            } else {
                trusted.append(range)
            }
        }

        private func firstRange(endingAfter position: Int) -> Int {
            var low = 0
            var high = trusted.count
            while low < high {
                let middle = (low + high) / 2
                if trusted[middle].upperBound > position { high = middle } else { low = middle + 1 }
            }
            return low
        }
    }
}

extension Jinja.Text: Hashable, Comparable, ExpressibleByStringLiteral {
    init(stringLiteral text: StaticString) {
        self.init(trusting: text.withUTF8Buffer { Array($0) })
    }

    static func == (a: Self, b: Self) -> Bool { a.bytes == b.bytes }
    static func < (a: Self, b: Self) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
    func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}
