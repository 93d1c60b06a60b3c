import Foundation

/// Where a gateway listens, as its URL says it.
struct GatewayAddress: Sendable, Equatable {
    let host: String
    let port: Int
    let isSecure: Bool

    /// The header Host.
    var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }

    init(_ text: String) throws(LoadError) {
        guard let url = URL(string: text), let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme),
            let host = url.host, !host.isEmpty, ["", "/"].contains(url.path), url.query == nil, url.user == nil
        else {
            throw .invalid(option: "--gateway", "must be the URL of a gateway, such as http://127.0.0.1:8080")
        }
        isSecure = scheme == "https"
        self.host = host.trimmingCharacters(in: ["[", "]"])
        port = url.port ?? (isSecure ? 443 : 80)
        guard (1...65535).contains(port) else { throw .invalid(option: "--gateway", "has no port between 1 and 65535") }
    }

    /// The address that stands for the host, when no name has to be looked up for it.
    var literal: String? {
        if host == "localhost" { return "127.0.0.1" }
        return host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." } ? host : nil
    }

    /// Whether it can only be this machine. A name may be anybody's, whatever it means today.
    var isLoopback: Bool {
        guard let literal else { return false }
        var four = in_addr()
        if inet_pton(AF_INET, literal, &four) == 1 { return UInt32(bigEndian: four.s_addr) >> 24 == 127 }
        return literal == "::1"
    }
}
