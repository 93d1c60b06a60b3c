/// Typed reading of metadata. A key that is missing or has another type gives an error that names the key.
extension GGUFFile {
    /// Longest string that is read whole; chat templates have a few kilobytes.
    static var stringLimit: Int { 1 << 20 }

    /// A string, which must be UTF-8 of at most a mebibyte.
    public func string(_ key: String) throws(ModelFileError) -> String {
        guard case .string(let range) = try value(key) else { throw wrongType(key, "a string") }
        return try string(range, "metadata '\(key)'")
    }

    /// A non-negative integer, whatever its width in the file.
    public func uint(_ key: String, default fallback: UInt64? = nil) throws(ModelFileError) -> UInt64 {
        if let fallback, metadata[key] == nil { return fallback }
        switch try value(key) {
        case .unsigned(let value): return value
        case .signed(let value) where value >= 0: return UInt64(value)
        default: throw wrongType(key, "a non-negative integer")
        }
    }

    /// An integer that must lie in `range`, for everything that is a count, a size or an id.
    public func int(
        _ key: String, in range: ClosedRange<Int>, default fallback: Int? = nil
    ) throws(ModelFileError) -> Int {
        if let fallback, metadata[key] == nil { return fallback }
        let value = try uint(key)
        guard let value = Int(exactly: value), range.contains(value) else {
            throw ModelFileError(
                offset: nil, field: "metadata '\(key)'",
                reason: "\(value) is not in \(range.lowerBound)...\(range.upperBound)")
        }
        return value
    }

    /// An integer of any sign and width; one that Int does not hold is -1, which is no id.
    func integer(_ key: String) throws(ModelFileError) -> Int {
        switch try value(key) {
        case .unsigned(let value): return Int(exactly: value) ?? -1
        case .signed(let value): return Int(exactly: value) ?? -1
        default: throw wrongType(key, "an integer")
        }
    }

    /// A finite number.
    public func float(_ key: String, default fallback: Double? = nil) throws(ModelFileError) -> Double {
        if let fallback, metadata[key] == nil { return fallback }
        guard case .float(let value) = try value(key) else { throw wrongType(key, "a floating-point number") }
        guard value.isFinite else {
            throw ModelFileError(offset: nil, field: "metadata '\(key)'", reason: "\(value) is not finite")
        }
        return value
    }

    public func bool(_ key: String, default fallback: Bool? = nil) throws(ModelFileError) -> Bool {
        if let fallback, metadata[key] == nil { return fallback }
        guard case .bool(let value) = try value(key) else { throw wrongType(key, "a boolean") }
        return value
    }

    /// An array of strings, each UTF-8. For large arrays prefer `forEachString`.
    public func strings(_ key: String) throws(ModelFileError) -> [String] {
        var result: [String] = []
        try forEachString(key) { (index, bytes) throws(ModelFileError) in
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw ModelFileError(offset: nil, field: "metadata '\(key)'[\(index)]", reason: "is not UTF-8")
            }
            result.append(text)
        }
        return result
    }

    /// How many elements the array has.
    public func arrayCount(_ key: String) throws(ModelFileError) -> Int {
        try array(key).count
    }

    /// Walks an array of strings without making Strings of them: index and bytes of each, the bytes valid only inside
    /// `body`.
    public func forEachString(
        _ key: String, _ body: (Int, UnsafeRawBufferPointer) throws(ModelFileError) -> Void
    ) throws(ModelFileError) {
        let array = try array(key)
        guard array.elementType == .string else { throw wrongType(key, "an array of strings") }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: file.bytes[array.bytes]))
        for index in 0..<array.count {
            let range = try reader.string("metadata '\(key)'[\(index)]")
            try body(index, UnsafeRawBufferPointer(rebasing: reader.bytes[range]))
        }
    }

    /// An array of integers of any width.
    public func integers(_ key: String) throws(ModelFileError) -> [Int64] {
        try numbers(key, "an array of integers") { value in
            switch value {
            case .unsigned(let value): Int64(exactly: value)
            case .signed(let value): value
            default: nil
            }
        }
    }

    /// An array of floating-point numbers.
    public func floats(_ key: String) throws(ModelFileError) -> [Double] {
        try numbers(key, "an array of floating-point numbers") { value in
            guard case .float(let number) = value else { return nil }
            return number
        }
    }

    private func numbers<T>(
        _ key: String, _ expected: String, _ convert: (MetadataValue) -> T?
    ) throws(ModelFileError) -> [T] {
        let array = try array(key)
        guard array.elementType != .string, array.elementType != .array else { throw wrongType(key, expected) }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: file.bytes[array.bytes]))
        var result: [T] = []
        result.reserveCapacity(array.count)
        for _ in 0..<array.count {
            guard let number = convert(try reader.metadataValue(array.elementType, key)) else {
                throw wrongType(key, expected)
            }
            result.append(number)
        }
        return result
    }

    private func value(_ key: String) throws(ModelFileError) -> MetadataValue {
        guard let value = metadata[key] else {
            throw ModelFileError(offset: nil, field: "metadata '\(key)'", reason: "is missing")
        }
        return value
    }

    private func array(_ key: String) throws(ModelFileError) -> MetadataArray {
        guard case .array(let array) = try value(key) else { throw wrongType(key, "an array") }
        return array
    }

    private func string(_ range: Range<Int>, _ field: String) throws(ModelFileError) -> String {
        guard range.count <= Self.stringLimit else {
            throw ModelFileError(
                offset: UInt64(range.lowerBound), field: field,
                reason: "\(range.count) bytes are more than \(Self.stringLimit)")
        }
        guard let text = String(validating: file.bytes[range], as: UTF8.self) else {
            throw ModelFileError(offset: UInt64(range.lowerBound), field: field, reason: "is not UTF-8")
        }
        return text
    }

    private func wrongType(_ key: String, _ expected: String) -> ModelFileError {
        ModelFileError(offset: nil, field: "metadata '\(key)'", reason: "is not \(expected)")
    }

    /// `general.alignment`, 32 when the file has none.
    static func alignment(_ metadata: [String: MetadataValue]) throws(ModelFileError) -> Int {
        guard let value = metadata["general.alignment"] else { return 32 }
        guard case .unsigned(let raw) = value, let alignment = Int(exactly: raw), alignments.contains(alignment),
            alignment.nonzeroBitCount == 1
        else {
            throw ModelFileError(
                offset: nil, field: "metadata 'general.alignment'",
                reason: "is not a power of two in \(alignments.lowerBound)...\(alignments.upperBound)")
        }
        return alignment
    }
}
