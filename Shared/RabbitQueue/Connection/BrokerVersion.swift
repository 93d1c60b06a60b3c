/// The broker's version, as its greeting says.
struct BrokerVersion: Equatable, Sendable {
    /// 0 when the greeting names no version.
    var major: Int

    init(major: Int) { self.major = major }

    /// - Parameter text: `3.10.8`, `4.1.0-beta.2`, … from the server's properties; nil when they have none.
    init(_ text: String?) {
        // Another product may say anything here.
        let digits = (text ?? "").utf8.prefix { (0x30...0x39).contains($0) }
        major = digits.count <= 4 ? Int(String(decoding: digits, as: UTF8.self)) ?? 0 : 0
    }
}
