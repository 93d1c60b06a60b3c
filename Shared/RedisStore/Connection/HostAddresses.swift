import Dispatch
import Foundation

/// Looks up the addresses of a host's name. That may block for seconds, so that it never stands on a connection's thread,
/// which all connections of a pool share.
enum HostAddresses {
    struct Failure: Error {
        let reason: String
    }

    private static let queue = DispatchQueue(label: "redis-addresses", attributes: .concurrent)

    /// Those of a host that is written as an address; nil for a name. Never blocks.
    static func literal(_ host: String) -> [String]? { try? find(host, flags: AI_NUMERICHOST).get() }

    /// Asks in the background. Callers have one question at a time each.
    static func find(
        _ host: String, by look: @escaping @Sendable (String) -> Result<[String], Failure>,
        _ completion: @escaping @Sendable (Result<[String], Failure>) -> Void
    ) {
        queue.async { completion(look(host)) }
    }

    /// As numbers, those of IPv4 first. Blocks while a name is looked up.
    static func find(_ host: String) -> Result<[String], Failure> { find(host, flags: AI_ADDRCONFIG) }

    private static func find(_ host: String, flags: Int32) -> Result<[String], Failure> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else { return .failure(Failure(reason: "\(host): \(String(cString: gai_strerror(code)))")) }
        defer { freeaddrinfo(list) }
        var found: [(family: Int32, text: String)] = []
        var next = list
        while let address = next?.pointee {
            next = address.ai_next
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard
                getnameinfo(
                    address.ai_addr, address.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            else { continue }
            let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            found.append((address.ai_family, name))
        }
        let first = found.filter { $0.family == AF_INET }, rest = found.filter { $0.family != AF_INET }
        return .success((first + rest).map(\.text))
    }
}
