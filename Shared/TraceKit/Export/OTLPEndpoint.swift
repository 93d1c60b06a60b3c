import Foundation
import ServiceKit

/// Where spans are exported to: `OTEL_EXPORTER_OTLP_ENDPOINT` and its headers, as OpenTelemetry defines them.
struct OTLPEndpoint: Sendable, Equatable {
    /// With the path of traces.
    let url: String
    let headers: [String: String]

    /// - Returns: nil when no endpoint is set.
    init?(_ settings: Settings) throws(SettingsError) {
        guard let base = try settings.optional(Settings.tracesEndpoint) else { return nil }
        guard let headers = OTLPEndpoint.headers(try settings.optional(Settings.tracesHeaders) ?? "") else {
            throw SettingsError(problems: [
                "\(Settings.tracesHeaders.name) is not a list name=value,name=value of HTTP headers"
            ])
        }
        guard let url = OTLPEndpoint.url(of: base) else {
            throw SettingsError(problems: ["\(Settings.tracesEndpoint.name) is not an http or https URL"])
        }
        self.init(url: url, headers: headers)
    }

    init(url: String, headers: [String: String] = [:]) {
        self.url = url
        self.headers = headers
    }

    static func url(of base: String) -> String? {
        guard let parts = URLComponents(string: base), ["http", "https"].contains(parts.scheme?.lowercased() ?? ""),
            let host = parts.host, !host.isEmpty, parts.query == nil, parts.fragment == nil
        else { return nil }
        return (base.hasSuffix("/") ? String(base.dropLast()) : base) + "/v1/traces"
    }

    /// `name=value` with commas between, values percent-encoded; nil for what is no header.
    static func headers(_ text: String) -> [String: String]? {
        var headers: [String: String] = [:]
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { return nil }
            let name = pair[0].trimmingCharacters(in: .whitespaces)
            guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte),
                let value = pair[1].trimmingCharacters(in: .whitespaces).removingPercentEncoding,
                value.utf8.allSatisfy({ (0x20...0x7E).contains($0) })
            else { return nil }
            headers[name] = value
        }
        return headers
    }

    /// What a header's name may consist of (RFC 9110, section 5.6.2).
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        byte.isASCIIAlphanumeric || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}
