import RedisStore

/// How many tokens of prompt and answer the living nodes can hold that a turn may go to.
struct NodeCapacity: Equatable, Sendable {
    /// What every node of one numerics id can hold; of several ids, of the one where that is most.
    let smallest: Int
    /// What the roomiest node can hold.
    let largest: Int

    /// - Returns: nil without nodes.
    init?(of nodes: [NodeAnnouncement]) {
        let ids = Dictionary(grouping: nodes, by: \.numericsID).values.compactMap { $0.map(\.capacity).min() }
        guard let smallest = ids.max(), let largest = nodes.map(\.capacity).max() else { return nil }
        self.smallest = smallest
        self.largest = largest
    }

    init(smallest: Int, largest: Int) {
        self.smallest = smallest
        self.largest = largest
    }
}
