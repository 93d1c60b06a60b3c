/// A user, always within a tenant: the same name at two tenants is two people. Names are compared as bytes.
public struct UserKey: Hashable, Sendable, Codable {
    /// The tenant's name, as its API key says.
    public let tenant: String
    /// The name that the tenant gave the user (`user_id` in the API).
    public let user: String

    /// What may be a tenant's or a user's name, so that keys of Redis and log lines can carry it as it is.
    public static let maximumNameBytes = 128

    public init(tenant: String, user: String) {
        self.tenant = tenant
        self.user = user
    }

    /// Whether this is a user of `tenant`.
    public func belongs(to tenant: String) -> Bool { ExactName(self.tenant) == ExactName(tenant) }

    public static func == (left: UserKey, right: UserKey) -> Bool {
        left.belongs(to: right.tenant) && ExactName(left.user) == ExactName(right.user)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(ExactName(tenant))
        hasher.combine(ExactName(user))
    }

    /// The bytes that place the user on the hash ring; the length keeps ("a", "bc") apart from ("ab", "c").
    public var ringKey: String { "\(tenant.utf8.count):\(tenant):\(user)" }
}

/// A conversation's number: below 2^53, so that JavaScript can hold it.
///
/// It is derived from the first turn's id, so that a retry of that turn arrives at the same number: 53 bits of a hash of
/// all its bits, of which 74 are random. It is unique for a user, not in the world: of a million conversations of one user
/// two have one number with a probability of 6e-5.
public struct ConversationID: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    public let value: Int64

    public static let maximum: Int64 = 1 << 53 - 1

    public init?(_ value: Int64) {
        guard value > 0, value <= ConversationID.maximum else { return nil }
        self.value = value
    }

    public init(firstTurn: TurnID) {
        // Both halves are spread over all bits before they meet.
        let bits = HashRing.mixed(HashRing.mixed(firstTurn.high) ^ firstTurn.low)
        value = max(1, Int64(bits >> 11))
    }

    public var description: String { String(value) }

    public static func < (left: ConversationID, right: ConversationID) -> Bool { left.value < right.value }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = ConversationID(try container.decode(Int64.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a conversation's number")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }
}

/// A user's conversation: the name of everything that is kept for it.
public struct ConversationKey: Hashable, Sendable, Codable {
    public let owner: UserKey
    public let id: ConversationID

    public init(owner: UserKey, id: ConversationID) {
        self.owner = owner
        self.id = id
    }

    /// The name in Redis keys; names are length-prefixed, so that no choice of names collides.
    public var storageName: String { "\(owner.ringKey):\(id)" }
}
