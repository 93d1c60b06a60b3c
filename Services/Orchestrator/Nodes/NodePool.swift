import ChatCore
import Logging
import RedisStore
import ServiceLifecycle

/// The living inference nodes, and who may use them: turns wait here, fairly, for a place at a node.
actor NodePool: Service {
    /// A place at a node; give it back with `release`.
    struct Place: Sendable {
        let node: NodeAnnouncement
    }

    private struct Waiter {
        let id: UInt64
        let numericsID: String?
    }

    private static let refreshInterval: Duration = .milliseconds(200)
    /// A node that sent a turn away, or whose queue was gone, is left alone for this long.
    private static let avoidance: Duration = .seconds(1)

    private let directory: NodeDirectory
    private let logger: Logger
    /// Told the ids of nodes that have vanished.
    private let onLost: @Sendable (String) -> Void
    private var nodes: [String: NodeAnnouncement] = [:]
    /// Turns that this orchestrator has at each node.
    private var used: [String: Int] = [:]
    private var avoided: [String: ContinuousClock.Instant] = [:]
    private var queue = FairQueue<Waiter>()
    private var waiting: [UInt64: CheckedContinuation<Place, any Error>] = [:]
    private var lastWaiter: UInt64 = 0

    init(directory: NodeDirectory, logger: Logger, onLost: @escaping @Sendable (String) -> Void) {
        self.directory = directory
        self.logger = logger
        self.onLost = onLost
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.refresh()
                try? await Task.sleep(for: NodePool.refreshInterval)
            }
        }
    }

    /// A place at another node than `other` that is free now and that no turn waits for.
    func freePlace(numericsID: String, besides other: String) -> Place? {
        guard queue.isEmpty, let node = node(for: Waiter(id: 0, numericsID: numericsID), besides: other) else {
            return nil
        }
        used[node.id, default: 0] += 1
        return Place(node: node)
    }

    /// Waits for a place at a node, of that numerics id if one is given.
    func place(for turn: Turn, numericsID: String?) async throws -> Place {
        lastWaiter += 1
        let id = lastWaiter
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume(throwing: CancellationError()) }
                waiting[id] = continuation
                queue.append(Waiter(id: id, numericsID: numericsID), kind: turn.kind, user: turn.conversation.owner)
                admit()
            }
        } onCancel: {
            Task { await self.leave(id) }
        }
    }

    func release(_ place: Place) {
        used[place.node.id] = used[place.node.id].flatMap { $0 > 1 ? $0 - 1 : nil }
        admit()
    }

    /// Leaves a node alone for a moment.
    func avoid(_ node: String) { avoided[node] = .now + NodePool.avoidance }

    private func leave(_ id: UInt64) {
        // Its entry in the queue finds no continuation any more and falls out when its turn comes.
        waiting.removeValue(forKey: id)?.resume(throwing: CancellationError())
        admit()
    }

    private func refresh() async {
        do throws(RedisError) {
            let found = Dictionary(try await directory.nodes().map { ($0.id, $0) }) { first, _ in first }
            for id in nodes.keys where found[id] == nil {
                logger.warning("a node has vanished", metadata: ["node": "\(id)"])
                onLost(id)
            }
            for id in found.keys where nodes[id] == nil {
                logger.info("a node has appeared", metadata: ["node": "\(id)"])
            }
            nodes = found
        } catch {
            // Redis is away: the nodes known so far stay; what they send cannot arrive meanwhile anyway.
            logger.debug("nodes cannot be listed", metadata: ["error": "\(error)"])
        }
        avoided = avoided.filter { $0.value > .now }
        admit()
    }

    private func admit() {
        while let waiter = queue.popFirst(where: { waiting[$0.id] == nil || node(for: $0) != nil }) {
            guard let continuation = waiting.removeValue(forKey: waiter.id) else { continue }
            guard let node = node(for: waiter) else { continue }
            used[node.id, default: 0] += 1
            continuation.resume(returning: Place(node: node))
        }
    }

    /// The least used node that may run the turn and has a place.
    private func node(for waiter: Waiter, besides other: String? = nil) -> NodeAnnouncement? {
        nodes.values
            .filter { node in
                (waiter.numericsID == nil || node.numericsID == waiter.numericsID) && avoided[node.id] == nil
                    && node.id != other
                    && used[node.id, default: 0] < node.maximumSequences
            }
            .min { load($0) < load($1) }
    }

    /// Turns at a node for each place: what it announced, or what this orchestrator has sent since, whichever is more.
    private func load(_ node: NodeAnnouncement) -> Double {
        Double(max(node.running + node.waiting, used[node.id, default: 0])) / Double(max(node.maximumSequences, 1))
    }
}
