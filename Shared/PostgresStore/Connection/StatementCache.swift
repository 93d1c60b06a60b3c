import ServiceKit

/// Which statements a session has prepared, and which to give up for a new one: the least recently used.
struct StatementCache {
    /// A statement is prepared for one text and one list of parameter types.
    struct Key: Hashable {
        let sql: String
        let types: [UInt32]
    }

    private struct Entry {
        let name: String
        var lastUse: UInt64
    }

    let capacity: Int
    private var entries: [Key: Entry] = [:]
    private var uses: UInt64 = 0
    private var names: [Key: UInt64] = [:]

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { entries.count }

    /// The prepared statement's name, marked as used.
    mutating func name(of key: Key) -> String? {
        guard entries[key] != nil else { return nil }
        uses += 1
        entries[key]?.lastUse = uses
        return entries[key]?.name
    }

    /// A name that this session has not given before, and no other session to another statement: behind a pooler one may
    /// meet what another has prepared, and must not take it for its own.
    mutating func freshName(for key: Key) -> String {
        var digest = FieldDigest()
        digest.add(key.sql)
        for type in key.types { digest.add(type) }
        // Bounded like what is prepared: forgetting how often a statement was prepared anew gives a name that was deallocated.
        if names.count >= 4 * capacity { names = [:] }
        let count = names[key, default: 0]
        names[key] = count + 1
        return "s_\(digest.hexadecimal().prefix(32))_\(count)"
    }

    /// Removes the statement to be given up when there is no room for another; returns its name.
    mutating func evict() -> String? {
        guard entries.count >= capacity,
            let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse })
        else { return nil }
        entries[oldest.key] = nil
        return oldest.value.name
    }

    mutating func insert(_ key: Key, name: String) {
        uses += 1
        entries[key] = Entry(name: name, lastUse: uses)
    }

    mutating func remove(_ key: Key) { entries[key] = nil }
}
