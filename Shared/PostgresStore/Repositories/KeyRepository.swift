import ChatCore

/// An API key as the directory keeps it: the secret's hash, never the secret.
public struct KeyRecord: Sendable, Equatable {
    public let id: String
    public let tenant: String
    /// What its maker called it.
    public let name: String
    /// SHA-256 of the secret: 32 bytes.
    public let hash: [UInt8]
    public let isAdmin: Bool
    public let tier: Tier
    /// Unix milliseconds.
    public let createdAt: Int64
    public let expiresAt: Int64?
    public let revokedAt: Int64?

    public init(
        id: String, tenant: String, name: String, hash: [UInt8], isAdmin: Bool, tier: Tier = .standard,
        createdAt: Int64, expiresAt: Int64?, revokedAt: Int64?
    ) {
        self.id = id
        self.tenant = tenant
        self.name = name
        self.hash = hash
        self.isAdmin = isAdmin
        self.tier = tier
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
    }

    /// - Parameter now: Unix milliseconds.
    public func isValid(at now: Int64) -> Bool {
        revokedAt == nil && (expiresAt.map { now < $0 } ?? true)
    }
}

/// Tenants' API keys, in the directory.
public struct KeyRepository: Sendable {
    private let directory: PostgresPool

    /// Keys that one listing gives, at most.
    public static let maximumList = 10_000

    public init(directory: PostgresPool) { self.directory = directory }

    /// Stores a key, and its tenant when it is the tenant's first.
    /// - Throws: `server` with SQLSTATE 23505 when the id is taken, 23514 when a name or the hash has a wrong length.
    public func create(
        id: String, tenant: String, name: String, hash: [UInt8], expiresAt: Int64? = nil, isAdmin: Bool = false,
        tier: Tier = .standard
    ) async throws(DatabaseError) {
        try await directory.write(
            """
            WITH add_tenant AS (INSERT INTO tenants (name) VALUES ($2) ON CONFLICT DO NOTHING)
            INSERT INTO api_keys (id, tenant, name, hash, expires_at, is_admin, tier)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .text(id), .text(tenant), .text(name), .bytes(hash), .timestamp(expiresAt), .boolean(isAdmin),
                .text(tier.rawValue),
            ])
    }

    /// Puts a key into another tier; gateways notice within a minute.
    /// - Returns: false when there is no such key.
    public func setTier(_ tier: Tier, of id: String) async throws(DatabaseError) -> Bool {
        let rows = try await directory.write(
            "UPDATE api_keys SET tier = $2 WHERE id = $1 RETURNING id", [.text(id), .text(tier.rawValue)])
        return !rows.isEmpty
    }

    /// The key of that id, revoked and expired ones too.
    public func find(_ id: String) async throws(DatabaseError) -> KeyRecord? {
        // No id in the table has one, and the server would refuse the question.
        guard !id.utf8.contains(0) else { return nil }
        let rows = try await directory.query("SELECT * FROM api_keys WHERE id = $1", [.text(id)])
        guard let row = rows.first else { return nil }
        return try Self.record(row)
    }

    /// Newest first, at most `limit`.
    /// - Parameter tenant: nil for all tenants.
    public func list(tenant: String? = nil, limit: Int = 1000) async throws(DatabaseError) -> [KeyRecord] {
        let rows = try await directory.query(
            """
            SELECT * FROM api_keys WHERE $1 IS NULL OR tenant = $1 ORDER BY created_at DESC, id LIMIT $2
            """, [.text(tenant), .integer(Int64(min(max(limit, 0), Self.maximumList)))])
        var records: [KeyRecord] = []
        for row in rows { records.append(try Self.record(row)) }
        return records
    }

    /// - Returns: false when there is no such key; revoking a revoked one changes nothing and returns true.
    @discardableResult
    public func revoke(_ id: String) async throws(DatabaseError) -> Bool {
        let rows = try await directory.write(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING id", [.text(id)])
        return !rows.isEmpty
    }

    private static func record(_ row: PostgresRow) throws(DatabaseError) -> KeyRecord {
        KeyRecord(
            id: try row.value("id"), tenant: try row.value("tenant"), name: try row.value("name"),
            hash: try row.value("hash"), isAdmin: try row.value("is_admin"), tier: try row.choice("tier"),
            createdAt: try row.value("created_at", as: UnixMilliseconds.self).value,
            expiresAt: try row.optional("expires_at", as: UnixMilliseconds.self)?.value,
            revokedAt: try row.optional("revoked_at", as: UnixMilliseconds.self)?.value)
    }
}
