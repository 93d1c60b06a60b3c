import ServiceKit

/// Where the shards are, and the bounds on their use.
public struct DatabaseConfiguration: Sendable {
    /// One database. Its place on the ring follows from its name, so a name stays while a server moves.
    public struct Shard: Sendable {
        public let name: String
        let target: ConnectionTarget
    }

    public let shards: [Shard]
    public let replicas: [Shard]
    /// Connections to each shard, at most.
    public let poolSize: Int
    /// From the first packet to a usable connection.
    public var connectTimeout: Duration = .seconds(5)
    /// After this the server ends a statement; the client gives up a connection that says nothing for 2 s longer.
    public var statementTimeout: Duration = .seconds(30)
    /// How long a caller waits for a free connection.
    public var acquireTimeout: Duration = .seconds(5)
    /// Callers that wait for a connection of one shard, at most.
    public var maximumWaiters = 1024

    public static let maximumShards = 256
    public static let maximumPoolSize = 200

    /// - Parameters:
    ///   - shards: `DATABASE_SHARDS`: URIs (`postgresql://user:password@host:port/database?…`) separated by commas,
    ///     each optionally as `name=uri`; the others are named shard0, shard1, … by their positions.
    ///   - replicas: `DATABASE_REPLICAS`, in the same form. Read and kept, not yet used.
    ///   - poolSize: connections to each shard, 1 to ``maximumPoolSize``.
    /// - Throws: `badConfiguration`, which names the setting and the entry, never its text.
    public init(shards: String, replicas: String? = nil, poolSize: Int) throws(DatabaseError) {
        self.shards = try Self.parse(shards, setting: "DATABASE_SHARDS")
        guard !self.shards.isEmpty else { throw .badConfiguration("DATABASE_SHARDS is empty") }
        self.replicas = try Self.parse(replicas ?? "", setting: "DATABASE_REPLICAS")
        guard (1...Self.maximumPoolSize).contains(poolSize) else {
            throw .badConfiguration("pool size: \(poolSize) is not in 1...\(Self.maximumPoolSize)")
        }
        self.poolSize = poolSize
    }

    private static func parse(_ list: String, setting: String) throws(DatabaseError) -> [Shard] {
        var shards: [Shard] = []
        for (index, entry) in split(list).enumerated() {
            let label = "\(setting), entry \(index + 1)"
            guard index < maximumShards else { throw .badConfiguration("\(setting): more than \(maximumShards)") }
            let (name, uri) = named(entry, position: index)
            guard !name.isEmpty, name.utf8.count <= 63, name.utf8.allSatisfy(isNameByte) else {
                throw .badConfiguration("\(label): a name is 1 to 63 of a-z A-Z 0-9 _ - .")
            }
            guard !shards.contains(where: { $0.name == name }) else {
                throw .badConfiguration("\(label): two entries have the name \(name)")
            }
            shards.append(Shard(name: name, target: try ConnectionTarget(uri: uri, label: label)))
        }
        return shards
    }

    /// Splits at the commas between entries. A comma inside an entry stays: a URI may list several hosts.
    private static func split(_ list: String) -> [String] {
        var entries: [String] = []
        for piece in list.split(separator: ",", omittingEmptySubsequences: false) {
            if piece.contains("://") || entries.isEmpty {
                entries.append(String(piece))
            } else {
                entries[entries.count - 1] += "," + piece
            }
        }
        return entries.map(trimmed).filter { !$0.isEmpty }
    }

    private static func trimmed(_ text: String) -> String {
        let isBlank: (Character) -> Bool = { $0.isWhitespace || $0 == "," }
        let front = text.drop(while: isBlank)
        return String(front.reversed().drop(while: isBlank).reversed())
    }

    private static func named(_ entry: String, position: Int) -> (name: String, uri: String) {
        // Only what stands before the scheme is a name: a URI's own query has equals signs too.
        guard let scheme = entry.firstRange(of: "://"), let equals = entry[..<scheme.lowerBound].firstIndex(of: "=")
        else {
            return ("shard\(position)", entry)
        }
        return (String(entry[..<equals]), String(entry[entry.index(after: equals)...]))
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        byte.isASCIIAlphanumeric || "_-.".utf8.contains(byte)
    }
}
