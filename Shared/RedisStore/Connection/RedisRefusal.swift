/// What an error reply means, and so what is done about it. Whatever a Redis may answer is in `table`, and nowhere else.
public struct RedisRefusal: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// It answers nobody now. Steps are repeated with a pause; the breaker `redis` opens.
        case outage
        /// It takes no writes now and still answers reads. Writing steps are repeated with a pause, reads go on; the breaker
        /// `redis.writes` opens.
        case outageOfWrites
        /// It does not let this client in, or not to this command. As an outage; the service says that it is not ready.
        case credentials
        /// The command itself is wrong, or meets a value of another form: a defect, which a repetition does not mend.
        case request
    }

    public let kind: Kind
    /// Whether it is in the table. What is not counts as an outage.
    public let isKnown: Bool

    /// Whether a repetition may succeed.
    public var isPassing: Bool { kind != .request }

    /// - Parameter text: an error reply, without the leading `-`.
    public init(_ text: String) {
        let row = Self.row(of: text)
        kind = row?.kind ?? .outage
        isKnown = row != nil
    }

    private typealias Row = (words: String, kind: Kind)

    /// By the first words of the reply. A longer entry stands before the shorter one that it begins with.
    private static let table: [Row] = [
        // It reads its data after a start.
        ("LOADING", .outage),
        // A script or a module runs for longer than busy-reply-threshold; KILL is refused when the script has written.
        ("BUSY", .outage), ("UNKILLABLE", .outage), ("ERR Script killed by user", .outage),
        // A replica that has lost its master and serves nothing old.
        ("MASTERDOWN", .outage), ("NOMASTERLINK", .outage),
        // A cluster that is not whole, or moves these keys.
        ("CLUSTERDOWN", .outage), ("TRYAGAIN", .outage),
        // A cluster where one server was promised: nothing works until the configuration is mended, and nothing is lost.
        ("MOVED", .outage), ("ASK", .outage),
        // It cannot read its own disk or a peer.
        ("IOERR", .outage), ("ERR max number of clients reached", .outage), ("ERR max clients reached", .outage),
        // Of a transaction or a blocked command that the server gave up; none of ours is one.
        ("EXECABORT", .outage), ("UNBLOCKED", .outage),
        // maxmemory is reached and nothing may be evicted: what frees memory is still taken.
        ("OOM", .outageOfWrites),
        // A replica behind the address: after a failover, or by configuration.
        ("READONLY", .outageOfWrites),
        // The last snapshot or the append-only file could not be written: mostly a full disk.
        ("MISCONF", .outageOfWrites),
        // Fewer replicas than min-replicas-to-write.
        ("NOREPLICAS", .outageOfWrites),
        // No password, a wrong one, or a user without the right to this command.
        ("NOAUTH", .credentials), ("WRONGPASS", .credentials), ("NOPERM", .credentials), ("DENIED", .credentials),
        ("ERR invalid password", .credentials), ("ERR operation not permitted", .credentials),
        ("ERR AUTH <password> called without any password", .credentials),
        ("ERR Client sent AUTH, but no password is set", .credentials),
        // The server has forgotten a script: `RedisPool.run` gives it again.
        ("NOSCRIPT", .request),
        ("WRONGTYPE", .request), ("BUSYKEY", .request), ("BUSYGROUP", .request), ("NOGROUP", .request),
        ("NOTBUSY", .request), ("CROSSSLOT", .request), ("NOPROTO", .request),
        // Unknown commands, wrong arguments, errors of a script's own.
        ("ERR", .request),
    ]

    private static func row(of text: String) -> Row? {
        // Before Redis 7 a script's refusal stands behind the script's error: `ERR Error running script (call to f_…):
        // @user_script:1: @user_script: 1: -READONLY You can't …`.
        if text.hasPrefix("ERR Error running script"),
            let inner = text.split(separator: ": -", maxSplits: 1).dropFirst().first
        {
            return entry(String(inner)) ?? entry(text)
        }
        return entry(text)
    }

    private static func entry(_ text: String) -> Row? {
        table.first { row in
            guard text.hasPrefix(row.words) else { return false }
            // Whole words: BUSY is not BUSYKEY.
            guard let next = text.dropFirst(row.words.count).first else { return true }
            return !next.isLetter
        }
    }

    /// For scripts: `refused(reply)` says whether a `redis.pcall` was refused because the server takes no writes now, and
    /// raises what else went wrong. A script that writes only beside its reading goes on without the write.
    static let lua: String = {
        let words = table.filter { $0.kind == .outageOfWrites }.map { "'\($0.words)'" }.joined(separator: ", ")
        return """

            local function refused(reply)
              if type(reply) ~= 'table' or not reply.err then return false end
              for _, word in ipairs({\(words)}) do
                if string.find(reply.err, word .. ' ', 1, true) then return true end
              end
              error(reply)
            end

            """
    }()
}
