import ChatCore
import RedisStore

/// Which nodes are alive and which are of use, from what was seen of them. Pure: it is told what was seen, and when.
///
/// Time in which nobody looked (Redis was away, or this process was stopped) hardly counts for a node's silence: nodes
/// that a Redis which was emptied has forgotten announce themselves again before they would be missed.
struct NodeRoster {
    struct Limits {
        /// A node that has not announced itself for this long is gone or stopped.
        var silence: Duration = .milliseconds(1500)
        /// The same for one whose control channel nobody listens on any more, as is so at once when its process has died.
        /// Longer than two announcements take, so that a connection that is only cut is no death.
        var silenceUnheard: Duration = .milliseconds(700)
        /// An engine that has work and made no step for this long hangs.
        var tokenDeadline: Duration = .milliseconds(1500)
        /// Steps of a big model take long: an engine is given this many of its own before it is said to hang.
        var stepsOfGrace = 4.0
        /// An engine whose first step is not measured yet.
        var firstStep: Duration = .seconds(10)
        /// Between looks further apart than this nobody looked, and only `glance` of it counts.
        var blindness: Duration = .milliseconds(600)
        var glance: Duration = .milliseconds(300)
        /// After a time without looks that is longer than this, nodes get as long again to come back, up to the latter:
        /// they wait between their attempts to reach Redis too.
        var outage: Duration = .seconds(1)
        var longestReturn: Duration = .seconds(5)
    }

    enum Loss: String {
        case died, silent, hangs
        /// It drained and has said goodbye.
        case left
    }

    enum Change: Equatable {
        case appeared(String)
        /// Turns at the node have to go on elsewhere.
        case lost(String, Loss)
    }

    private struct Entry {
        var node: NodeAnnouncement
        var lastBeat: ContinuousClock.Instant
        /// In this look, and in the one before.
        var isListed = true
        var wasListed = true
        var isListening = true
        var loss: Loss?
    }

    private let limits: Limits
    private var entries: [String: Entry] = [:]
    private var lastLook: ContinuousClock.Instant?

    init(limits: Limits = Limits()) { self.limits = limits }

    /// Living nodes that take turns, in the order of their ids.
    private(set) var available: [NodeAnnouncement] = []

    /// Takes what one look saw: the announcements there are, and the ids of nodes that listen on their control channel.
    mutating func look(
        _ found: [NodeAnnouncement], listening: Set<String>, at now: ContinuousClock.Instant
    ) -> [Change] {
        if let lastLook, lastLook + limits.blindness < now {
            let gap = lastLook.duration(to: now)
            let credit = gap - limits.glance + (gap > limits.outage ? min(gap, limits.longestReturn) : .zero)
            for id in entries.keys { entries[id]?.lastBeat += credit }
        }
        lastLook = now
        var changes: [Change] = []
        for id in entries.keys { entries[id]?.isListed = false }
        for node in found {
            let known = entries[node.id]
            // An announcement that stays as it is until it expires is the last word of a node that is gone.
            let isNew = known.map { $0.node.beat != node.beat || node.beat == nil || !$0.wasListed } ?? true
            var entry = known ?? Entry(node: node, lastBeat: now)
            entry.node = node
            entry.isListed = true
            entry.isListening = listening.contains(node.id)
            if isNew {
                entry.lastBeat = now
                if known == nil || (entry.loss != nil && entry.loss != .hangs) {
                    entry.loss = nil
                    changes.append(.appeared(node.id))
                }
            }
            entries[node.id] = entry
        }
        for id in entries.keys.sorted() {
            guard var entry = entries[id] else { continue }
            let loss = loss(of: entry, at: now)
            if let loss, entry.loss == nil { changes.append(.lost(id, loss)) }
            if entry.loss == .hangs, loss == nil { changes.append(.appeared(id)) }
            entry.loss = loss
            entry.wasListed = entry.isListed
            entries[id] = entry.isListed || loss == nil ? entry : nil
        }
        available = entries.values
            .filter { $0.loss == nil && $0.isListed && $0.node.isDraining != true }
            .map(\.node).sorted { $0.id < $1.id }
        return changes
    }

    private func loss(of entry: Entry, at now: ContinuousClock.Instant) -> Loss? {
        if !entry.isListed, entry.node.isDraining == true { return .left }
        let silence = entry.lastBeat.duration(to: now)
        if silence > limits.silence { return .silent }
        if !entry.isListening, silence > limits.silenceUnheard { return .died }
        guard let idle = entry.node.stepAge, idle >= 0 else { return nil }
        var patience = limits.firstStep
        if let step = entry.node.stepSeconds, step.isFinite, step >= 0 {
            patience = max(limits.tokenDeadline, .seconds(min(step, 3600) * limits.stepsOfGrace))
        }
        // The age is as old as the announcement that says it.
        return .milliseconds(idle) + silence > patience ? .hangs : nil
    }
}
