import HTTPTypes

/// The paths of the API with their methods, for those who ask what they may do.
enum Endpoints {
    /// `*` stands for one segment.
    static let methods: [String: [HTTPRequest.Method]] = [
        "/chat": [.post], "/stream-chat": [.post], "/async-chat": [.post],
        "/stream/*": [.get, .delete], "/check-response/*": [.get],
        "/health": [.get, .head], "/livez": [.get, .head], "/readyz": [.get, .head], "/metrics": [.get, .head],
        "/debug/queue-stats": [.get],
    ]

    /// The methods of a path; nil when there is no such path.
    static func methods(of path: String) -> [HTTPRequest.Method]? {
        if let methods = methods[path] { return methods }
        let segments = path.split(separator: "/", omittingEmptySubsequences: true)
        if let methods = methods["/" + segments.joined(separator: "/")] { return methods }
        return segments.count == 2 ? methods["/\(segments[0])/*"] : nil
    }

    /// For the header Allow.
    static func allowed(_ methods: [HTTPRequest.Method]) -> String {
        (methods + [.options]).map(\.rawValue).joined(separator: ", ")
    }
}
