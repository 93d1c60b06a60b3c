/// What stands between the braces of keys that belong together.
public enum HashTag {
    /// Of a tenant's keys. The length keeps a tenant's name from closing the tag of another's.
    public static func tenant(_ tenant: String) -> String { "\(tenant.utf8.count):\(tenant)" }
}
