extension Jinja.Text {
    /// Where `pattern` stands first, at or after `start`. A text made to be slow to search is charged for it.
    func find(_ pattern: Jinja.Text, from start: Int = 0, _ meter: Jinja.Meter) throws(Jinja.Failure) -> Int? {
        guard !pattern.isEmpty else { return start <= count ? start : nil }
        guard pattern.count <= count else { return nil }
        var compared = 0
        var position = start
        while position <= count - pattern.count {
            var offset = 0
            while offset < pattern.count, bytes[position + offset] == pattern.bytes[offset] { offset += 1 }
            if offset == pattern.count {
                try meter.charge(bytes: position - start + compared)
                return position
            }
            compared += offset
            if compared > 1 << 16 {
                try meter.charge(bytes: compared)
                compared = 0
            }
            position += 1
        }
        try meter.charge(bytes: count - min(start, count) + compared)
        return nil
    }

    func hasPrefix(_ other: Jinja.Text) -> Bool { bytes.starts(with: other.bytes) }
    func hasSuffix(_ other: Jinja.Text) -> Bool { bytes.suffix(other.count).elementsEqual(other.bytes) }

    /// Without the code points of `characters` at its ends; without whitespace when nil.
    func stripped(_ characters: Jinja.Text? = nil, left: Bool = true, right: Bool = true) -> Jinja.Text {
        let wanted = characters.map { text in Set(text.scalars.map(\.value)) }
        func goes(_ scalar: Unicode.Scalar) -> Bool { wanted?.contains(scalar) ?? scalar.isPythonSpace }
        var start = 0
        var end = count
        while left, start < end {
            let scalar = scalar(at: start)
            guard goes(scalar.value) else { break }
            start = scalar.range.upperBound
        }
        while right, start < end {
            var last = end - 1
            while last > start, bytes[last] & 0xC0 == 0x80 { last -= 1 }
            guard goes(scalar(at: last).value) else { break }
            end = last
        }
        return start == 0 && end == count ? self : slice(start..<end)
    }

    /// The pieces between occurrences of `separator`, which is not empty.
    func split(_ separator: Jinja.Text, limit: Int = .max, _ meter: Jinja.Meter) throws(Jinja.Failure) -> [Jinja.Text] {
        var pieces: [Jinja.Text] = []
        var start = 0
        while pieces.count < limit, let found = try find(separator, from: start, meter) {
            pieces.append(slice(start..<found))
            start = found + separator.count
        }
        pieces.append(slice(start..<count))
        try meter.charge(bytes: count)
        return pieces
    }

    /// The pieces between the last `limit` occurrences of `separator`.
    func splitFromEnd(
        _ separator: Jinja.Text, limit: Int, _ meter: Jinja.Meter
    ) throws(Jinja.Failure) -> [Jinja.Text] {
        var pieces: [Jinja.Text] = []
        var end = count
        while pieces.count < limit {
            var position = end - separator.count
            while position >= 0, !bytes[position..<position + separator.count].elementsEqual(separator.bytes) {
                try meter.charge()
                position -= 1
            }
            guard position >= 0 else { break }
            pieces.append(slice(position + separator.count..<end))
            end = position
        }
        pieces.append(slice(0..<end))
        return pieces.reversed()
    }

    /// The words between whitespace; what is left after `limit` of them stays one.
    func words(limit: Int = .max, _ meter: Jinja.Meter) throws(Jinja.Failure) -> [Jinja.Text] {
        try meter.charge(bytes: count)
        var pieces: [Jinja.Text] = []
        var position = 0
        while true {
            while position < count, scalar(at: position).value.isPythonSpace {
                position = scalar(at: position).range.upperBound
            }
            guard position < count else { return pieces }
            if pieces.count >= limit {
                pieces.append(slice(position..<count))
                return pieces
            }
            let start = position
            while position < count, !scalar(at: position).value.isPythonSpace {
                position = scalar(at: position).range.upperBound
            }
            pieces.append(slice(start..<position))
        }
    }

    /// The lines, without their ends (`\n`, `\r`, `\r\n` and the rarer ones of Python's `splitlines`).
    func lines(keepingEnds: Bool = false) -> [Jinja.Text] {
        var lines: [Jinja.Text] = []
        var start = 0
        var position = 0
        while position < count {
            let scalar = scalar(at: position)
            position = scalar.range.upperBound
            switch scalar.value.value {
            case 0x0D where position < count && bytes[position] == 0x0A: position += 1
            case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: break
            default: continue
            }
            lines.append(slice(start..<(keepingEnds ? position : scalar.range.lowerBound)))
            start = position
        }
        if start < count { lines.append(slice(start..<count)) }
        return lines
    }

    /// With the first `limit` occurrences of `old` by `new`.
    func replacing(
        _ old: Jinja.Text, by new: Jinja.Text, limit: Int = .max, _ meter: Jinja.Meter
    ) throws(Jinja.Failure) -> Jinja.Text {
        var result = Jinja.Text()
        var left = limit
        if old.isEmpty {
            // Before every code point and at the end.
            for scalar in scalars {
                if left > 0 {
                    try meter.charge(bytes: new.count)
                    result.append(new)
                    left -= 1
                }
                result.append(self, scalar.range)
            }
            if left > 0 { result.append(new) }
            return result
        }
        var start = 0
        while left > 0, let found = try find(old, from: start, meter) {
            try meter.charge(bytes: found - start + new.count)
            result.append(self, start..<found)
            result.append(new)
            start = found + old.count
            left -= 1
        }
        result.append(self, start..<count)
        try meter.charge(bytes: count)
        return result
    }
}
