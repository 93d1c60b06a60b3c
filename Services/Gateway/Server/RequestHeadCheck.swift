import NIOHTTP1
import ServiceKit

/// What HTTP wants of a head beyond what the decoder checks (RFC 9112).
enum RequestHeadCheck {
    /// Bytes of a client's word that are said back.
    private static let maximumWordBytes = 64

    /// Why a head is refused; nil when it is not.
    static func refusal(of head: HTTPRequestHead) -> APIError? {
        hostRefusal(of: head) ?? codingRefusal(of: head)
    }

    /// Section 3.2: once, from HTTP/1.1 on. A second one may be meant for another server on the way.
    private static func hostRefusal(of head: HTTPRequestHead) -> APIError? {
        let hosts = head.headers["Host"]
        guard hosts.count <= 1 else { return .invalid("Host", "is given more than once") }
        guard let host = hosts.first else {
            return head.version.minor > 0 ? .invalid("Host", "is missing, which HTTP/1.1 wants") : nil
        }
        return host.utf8.allSatisfy(isOfHost) ? nil : .invalid("Host", "names no host")
    }

    /// Characters of a host with its port (RFC 3986, section 3.2).
    private static func isOfHost(_ byte: UInt8) -> Bool {
        byte.isASCIIAlphanumeric || "-._~!$&'()*+,;=%:[]".utf8.contains(byte)
    }

    /// Section 6.1: what is packed otherwise than in chunks nobody here unpacks, and the old protocol knows no chunks.
    private static func codingRefusal(of head: HTTPRequestHead) -> APIError? {
        let fields = head.headers["Transfer-Encoding"]
        guard !fields.isEmpty else { return nil }
        guard head.version.minor > 0 else { return .invalid("Transfer-Encoding", "is not part of HTTP/1.0") }
        let codings = fields.flatMap { $0.split(separator: ",") }
            .map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
        if let other = codings.first(where: { $0 != "chunked" }) {
            return .unknownTransferCoding(String(decoding: other.utf8.prefix(maximumWordBytes), as: UTF8.self))
        }
        return codings.count == 1 ? nil : .invalid("Transfer-Encoding", "must be chunked, once")
    }
}
