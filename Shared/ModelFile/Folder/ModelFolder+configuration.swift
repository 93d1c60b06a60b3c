/// Typed reading of config.json. A key is a name, or names with dots between; one that is missing or has another type gives an
/// error that names it.
extension ModelFolder {
    /// What errors call a key.
    public static func field(_ key: String) -> String { "config.json '\(key)'" }

    /// Whether the key is there with a value other than null.
    public func has(_ key: String) -> Bool { value(key) != nil }

    /// Whether the key is there and null, which some models say to switch a default off.
    public func isNull(_ key: String) -> Bool {
        var found = false
        try? configuration.forEachMember { (name, value) in
            if name.elementsEqual(key.utf8) { found = value.isNull }
        }
        return found
    }

    public func string(_ key: String, default fallback: String? = nil) throws(ModelFileError) -> String {
        if let fallback, value(key) == nil { return fallback }
        return try required(key).string()
    }

    /// The strings of an array.
    public func strings(_ key: String) throws(ModelFileError) -> [String] {
        var strings: [String] = []
        try required(key).forEachElement { (element) throws(ModelFileError) in strings.append(try element.string()) }
        return strings
    }

    public func int(
        _ key: String, in range: ClosedRange<Int>, default fallback: Int? = nil
    ) throws(ModelFileError) -> Int {
        if let fallback, value(key) == nil { return fallback }
        return try required(key).int(in: range)
    }

    /// A finite number.
    public func float(_ key: String, default fallback: Double? = nil) throws(ModelFileError) -> Double {
        if let fallback, value(key) == nil { return fallback }
        return try required(key).double()
    }

    public func bool(_ key: String, default fallback: Bool) throws(ModelFileError) -> Bool {
        guard let value = value(key) else { return fallback }
        return try value.bool()
    }

    private func value(_ key: String) -> JSONValue? {
        var value: JSONValue? = configuration
        for name in key.split(separator: ".") { value = value?[String(name)] }
        return value
    }

    private func required(_ key: String) throws(ModelFileError) -> JSONValue {
        guard let value = value(key) else {
            throw ModelFileError(offset: nil, field: Self.field(key), reason: "is missing")
        }
        return value
    }
}
