extension Jinja.Value {
    /// Python's `==`: numbers by value, lists and dictionaries by what they hold, texts by bytes.
    static func equal(_ a: Self, _ b: Self, _ meter: Jinja.Meter) throws(Jinja.Failure) -> Bool {
        try meter.charge()
        switch (a, b) {
        case (.undefined, .undefined), (.null, .null): return true
        case (.text(let a), .text(let b)):
            try meter.charge(bytes: min(a.count, b.count))
            return a == b
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            guard a.elements.count == b.elements.count else { return false }
            for (a, b) in zip(a.elements, b.elements) where try !equal(a, b, meter) { return false }
            return true
        case (.dictionary(let a), .dictionary(let b)):
            guard a.entries.count == b.entries.count else { return false }
            for (key, value) in a.entries {
                guard let other = b.get(key), try equal(value, other, meter) else { return false }
            }
            return true
        case (.namespace(let a), .namespace(let b)): return a === b
        case (.macro(let a), .macro(let b)): return a === b
        case (.loop(let a), .loop(let b)): return a === b
        case (.function(let a), .function(let b)): return a == b
        default:
            if let a = a.integer, let b = b.integer { return a == b }
            if let a = a.number, let b = b.number { return a == b }
            return false
        }
    }

    /// Python's `<`, where it has one.
    static func less(_ a: Self, _ b: Self, _ meter: Jinja.Meter) throws(Jinja.Failure) -> Bool {
        try meter.charge()
        switch (a, b) {
        case (.text(let a), .text(let b)):
            try meter.charge(bytes: min(a.count, b.count))
            return a < b
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            for (a, b) in zip(a.elements, b.elements) where try !equal(a, b, meter) { return try less(a, b, meter) }
            return a.elements.count < b.elements.count
        default:
            if let a = a.integer, let b = b.integer { return a < b }
            if let a = a.number, let b = b.number { return a < b }
            throw Jinja.Failure("\(a.typeName) and \(b.typeName) have no order")
        }
    }

    static func lessOrEqual(_ a: Self, _ b: Self, _ meter: Jinja.Meter) throws(Jinja.Failure) -> Bool {
        if let a = a.number, let b = b.number { return a <= b }
        return try !less(b, a, meter)
    }

    /// Python's `in`.
    static func contains(
        _ container: Self, _ element: Self, _ meter: Jinja.Meter
    ) throws(Jinja.Failure) -> Bool {
        switch container {
        case .undefined: return false
        case .text(let text):
            guard case .text(let part) = element else {
                throw Jinja.Failure("\(element.typeName) cannot be in a string")
            }
            return try text.find(part, meter) != nil
        case .list(let list), .tuple(let list):
            for candidate in list.elements where try equal(candidate, element, meter) { return true }
            return false
        case .dictionary(let dictionary): return dictionary.get(element) != nil
        default: throw Jinja.Failure("nothing can be in \(container.typeName)")
        }
    }

    /// Stable, with a bounded number of comparisons, whatever `isLess` says.
    static func sorted<Element>(
        _ elements: [Element], by isLess: (Element, Element) throws(Jinja.Failure) -> Bool
    ) throws(Jinja.Failure) -> [Element] {
        guard elements.count > 1 else { return elements }
        let middle = elements.count / 2
        let left = try sorted(Array(elements[..<middle]), by: isLess)
        let right = try sorted(Array(elements[middle...]), by: isLess)
        var merged: [Element] = []
        merged.reserveCapacity(elements.count)
        var (i, j) = (0, 0)
        while i < left.count, j < right.count {
            if try isLess(right[j], left[i]) {
                merged.append(right[j])
                j += 1
            } else {
                merged.append(left[i])
                i += 1
            }
        }
        return merged + left[i...] + right[j...]
    }
}
