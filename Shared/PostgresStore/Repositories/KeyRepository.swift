/// An API key as the directory keeps it: the secret's hash, never the secret.
public struct KeyRecord: Sendable, Equatable {
    public let id: String
    public let tenant: String
    /// What its maker called it.
    public let name: String
    /// SHA-256 of the secret: 32 bytes.
    public let hash: [UInt8]
    public let isAdmin: Bool
    /// Unix milliseconds.
    public let createdAt: Int64
    public let expiresAt: Int64?
    public let revokedAt: Int64?

    /// - Parameter now: Unix milliseconds.
    public func isValid(at now: Int64) -> Bool {
        revokedAt == nil && (expiresAt.map { now < $0 } ?? true)
    }
}

/// Tenants' API keys, in the directory.
public struct KeyRepository: Sendable {
    private let directory: PostgresPool

    public init(directory: PostgresPool) { self.directory = directory }

    /// Stores a key, and its tenant when it is the first one's.
    /// - Throws: `server` with SQLSTATE 23505 when the id is taken.
    public func create(
        id: String, tenant: String, name: String, hash: [UInt8], expiresAt: Int64? = nil, isAdmin: Bool = false
    ) async throws(DatabaseError) {}

    /// The key of that id, revoked and expired ones too.
    public func find(_ id: String) async throws(DatabaseError) -> KeyRecord? { nil }

    /// Newest first, at most `limit`.
    /// - Parameter tenant: nil for all tenants.
    public func list(tenant: String? = nil, limit: Int = 1000) async throws(DatabaseError) -> [KeyRecord] { [] }

    /// - Returns: false when there is no such key; revoking a revoked one changes nothing and returns true.
    @discardableResult
    public func revoke(_ id: String) async throws(DatabaseError) -> Bool { false }
}
