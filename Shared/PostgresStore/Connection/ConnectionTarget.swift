import CLibpq

/// A server and how to log in to it, read from a URI by libpq's own parser. It holds a password: nothing prints it.
struct ConnectionTarget: Sendable, CustomStringConvertible, CustomReflectable {
    private let options: [(keyword: String, value: String)]

    /// - Parameter label: what an error calls the URI; libpq's own message may quote a password, so it is not shown.
    init(uri: String, label: String) throws(DatabaseError) {
        guard uri.hasPrefix("postgresql://") || uri.hasPrefix("postgres://") else {
            throw .badConfiguration("\(label): not a postgresql:// URI")
        }
        var message: UnsafeMutablePointer<CChar>?
        guard let list = PQconninfoParse(uri, &message) else {
            PQfreemem(message)
            throw .badConfiguration("\(label): not a valid postgresql:// URI")
        }
        defer { PQconninfoFree(list) }
        var options: [(keyword: String, value: String)] = []
        var option = list
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val {
                options.append((String(cString: keyword), String(cString: value)))
            }
            option += 1
        }
        self.options = options
    }

    /// Whether the URI lists several hosts and leaves it to us which of them.
    var hasChoice: Bool {
        options.contains { ["host", "hostaddr"].contains($0.keyword) && $0.value.contains(",") }
            && !options.contains { $0.keyword == "target_session_attrs" }
    }

    /// The URI's own settings over our defaults.
    /// - Parameters:
    ///   - statementTimeout: set on the server when the session begins; nil where that is not taken.
    ///   - isForWriting: goes on to the next host when one takes no writes.
    func parameters(statementTimeout: Duration?, isForWriting: Bool = false) -> [(keyword: String, value: String)] {
        var merged: [String: String] = [
            "application_name": "switchboard",
            // A dead peer is noticed within about a minute, even by a connection that nobody uses.
            "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3",
            // Looking for Kerberos credentials may block on files and the network.
            "gssencmode": "disable",
        ]
        for (keyword, value) in options { merged[keyword] = value }
        // Text is UTF-8 whatever the database's own encoding: Swift's strings go out as they are.
        merged["client_encoding"] = "UTF8"
        if isForWriting { merged["target_session_attrs"] = "read-write" }
        if let statementTimeout {
            let milliseconds = Int64(statementTimeout / .milliseconds(1))
            let settings =
                "-c statement_timeout=\(milliseconds) -c idle_in_transaction_session_timeout=\(milliseconds * 2)"
                + " -c client_min_messages=warning"
            merged["options"] = [merged["options"], settings].compactMap(\.self).joined(separator: " ")
        }
        return merged.map { (keyword: $0.key, value: $0.value) }.sorted { $0.keyword < $1.keyword }
    }

    var description: String { "a database" }
    var customMirror: Mirror { Mirror(self, children: []) }
}
