import ChatClient
import NIOCore
import NIOHTTP1

/// The answer to one request, whole.
struct HTTPAnswer {
    let status: Int
    let headers: HTTPHeaders
    let body: [UInt8]

    /// Bytes of an answer at most; none of the API's short ones comes near.
    static let maximumBytes = 1 << 20
}

extension HTTPHeaders {
    /// What every request carries.
    init(to address: GatewayAddress, apiKey: String) {
        self.init([("Host", address.authority), ("X-API-Key", apiKey)])
    }
}
