/// The delivery tags of one channel that are neither acknowledged nor rejected. Pure.
///
/// Tags rise by one with each delivery, so the list is sorted as it grows.
struct UnacknowledgedTags {
    /// An acknowledgement as it goes over the wire: of one tag, or of all that are out up to it.
    struct Acknowledgement: Equatable {
        let tag: UInt64
        let multiple: Bool
    }

    private var tags: [UInt64] = []

    var count: Int { tags.count }

    mutating func add(_ tag: UInt64) throws(RabbitError) {
        guard tag > tags.last ?? 0 else { throw .protocolViolation("delivery tag \(tag) twice or out of order") }
        tags.append(tag)
    }

    func contains(_ tag: UInt64) -> Bool {
        let position = position(of: tag)
        return position < tags.count && tags[position] == tag
    }

    /// Whether it was out; it no longer is.
    mutating func remove(_ tag: UInt64) -> Bool {
        let position = position(of: tag)
        guard position < tags.count, tags[position] == tag else { return false }
        tags.remove(at: position)
        return true
    }

    /// Settles those of `batch` that are out with the fewest frames: one acknowledgement for the tags that no other
    /// delivery stands between or before, then one for each of the others. Never covers a tag that is not in `batch`.
    mutating func acknowledge(_ batch: [UInt64]) -> [Acknowledgement] {
        let wanted = Set(batch)
        let prefix = tags.prefix { wanted.contains($0) }
        var result: [Acknowledgement] = []
        if let last = prefix.last { result.append(Acknowledgement(tag: last, multiple: prefix.count > 1)) }
        let rest = tags.dropFirst(prefix.count)
        result += rest.filter { wanted.contains($0) }.map { Acknowledgement(tag: $0, multiple: false) }
        tags = rest.filter { !wanted.contains($0) }
        return result
    }

    private func position(of tag: UInt64) -> Int {
        var low = 0
        var high = tags.count
        while low < high {
            let middle = (low + high) / 2
            if tags[middle] < tag { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
