import HTTPTypes
import Hummingbird

/// How a request's body is packed (RFC 9110, section 8.4).
enum ContentCoding: String {
    case gzip
    case deflate

    /// For the header Accept-Encoding.
    static let accepted = "gzip, deflate"

    /// The coding of a request; nil when its body is as it is.
    /// - Throws: `APIError` 415 for any other coding, and for more than one.
    init?(_ headers: HTTPFields) throws(APIError) {
        let names = headers[values: .contentEncoding].flatMap { $0.split(separator: ",") }
            .map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }.filter { $0 != "identity" && !$0.isEmpty }
        guard let name = names.first else { return nil }
        guard names.count == 1, let coding = ContentCoding(rawValue: name == "x-gzip" ? "gzip" : name) else {
            throw .unsupportedCoding
        }
        self = coding
    }
}
