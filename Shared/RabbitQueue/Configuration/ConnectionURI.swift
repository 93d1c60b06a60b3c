/// The parts of an AMQP URI: `amqp://user:password@host:port/vhost`.
struct ConnectionURI {
    var user = "guest"
    var password = "guest"
    var host = ""
    var port = 5672
    var virtualHost = "/"

    /// A longer URI is a mistake, not a configuration.
    private static let maximumLength = 2048

    init(parsing text: String) throws(RabbitError) {
        guard text.utf8.count <= Self.maximumLength else {
            throw .badURI("uri: longer than \(Self.maximumLength) bytes")
        }
        guard text.hasPrefix("amqp://") else {
            throw .badURI(
                text.hasPrefix("amqps://") ? "scheme: TLS (amqps) is not supported" : "scheme: must be amqp://")
        }
        var rest = text.dropFirst("amqp://".count)
        guard !rest.contains(where: { $0 == "?" || $0 == "#" }) else {
            throw .badURI("query: parameters are not supported")
        }
        if let slash = rest.firstIndex(of: "/") {
            let path = rest[rest.index(after: slash)...]
            guard !path.contains("/") else { throw .badURI("vhost: a slash inside must be written %2F") }
            if !path.isEmpty { virtualHost = try Self.decode(path, part: "vhost") }
            rest = rest[..<slash]
        }
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at]
            rest = rest[rest.index(after: at)...]
            if let colon = credentials.firstIndex(of: ":") {
                user = try Self.decode(credentials[..<colon], part: "user")
                password = try Self.decode(credentials[credentials.index(after: colon)...], part: "password")
            } else {
                user = try Self.decode(credentials, part: "user")
            }
            guard !user.isEmpty else { throw .badURI("user: empty") }
        }
        try parseAuthority(rest)
    }

    private mutating func parseAuthority(_ text: Substring) throws(RabbitError) {
        let afterHost: Substring
        if text.hasPrefix("[") {
            guard let bracket = text.firstIndex(of: "]") else { throw .badURI("host: unclosed bracket") }
            host = String(text[text.index(after: text.startIndex)..<bracket])
            afterHost = text[text.index(after: bracket)...]
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = String(text[..<colon])
            afterHost = text[colon...]
        }
        guard !host.isEmpty else { throw .badURI("host: empty") }
        guard host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw .badURI("host: not a host name") }
        guard !afterHost.isEmpty else { return }
        guard afterHost.hasPrefix(":") else { throw .badURI("host: text after the address") }
        let digits = afterHost.dropFirst()
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits),
            (1...65535).contains(number)
        else { throw .badURI("port: must be a number from 1 to 65535") }
        port = number
    }

    /// Percent-decoding that refuses what Foundation's lets through: stray percent signs, NUL, invalid UTF-8.
    private static func decode(_ text: Substring, part: String) throws(RabbitError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexDigit), let low = rest.popFirst().flatMap(hexDigit) else {
                throw .badURI("\(part): malformed percent-encoding")
            }
            bytes.append(high << 4 | low)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw .badURI("\(part): not UTF-8") }
        // SASL PLAIN separates its fields with NUL; names on the wire are short strings.
        guard !bytes.contains(0), bytes.count <= 255 else {
            throw .badURI("\(part): holds NUL or is longer than 255 bytes")
        }
        return decoded
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        Character(UnicodeScalar(byte)).hexDigitValue.map(UInt8.init)
    }
}
