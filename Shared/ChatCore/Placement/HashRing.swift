/// A consistent-hash ring with virtual nodes (Karger et al., 1997): adding the n-th shard moves about 1/n of the users.
public struct HashRing: Sendable {
    private let points: [(hash: UInt64, member: Int)]
    public let memberCount: Int

    /// - Parameters:
    ///   - members: the members' names, in order; positions depend on names only, so the order of a list may change.
    ///   - virtualNodes: points of each member on the ring; 128 keep loads within a few percent of each other.
    public init(members: [String], virtualNodes: Int = 128) {
        memberCount = members.count
        points = members.enumerated()
            .flatMap { index, name in
                (0..<virtualNodes).map { (hash: HashRing.hash("\(name)#\($0)"), member: index) }
            }
            .sorted { ($0.hash, members[$0.member]) < ($1.hash, members[$1.member]) }
    }

    /// The index of the member that owns `key`; nil on an empty ring.
    public func member(for key: String) -> Int? {
        guard !points.isEmpty else { return nil }
        let hash = HashRing.hash(key)
        var low = 0
        var high = points.count
        while low < high {
            let middle = (low + high) / 2
            if points[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        return points[low == points.count ? 0 : low].member
    }

    /// FNV-1a (Fowler, Noll, Vo) with the finaliser of MurmurHash3, which spreads the last bytes over all bits.
    /// Placement is forever: this function never changes.
    public static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return mixed(hash)
    }

    /// The finaliser of MurmurHash3: one to one, and each bit of `bits` changes each of the result's with about even odds.
    static func mixed(_ bits: UInt64) -> UInt64 {
        var hash = (bits ^ bits >> 33) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ hash >> 33
    }
}
