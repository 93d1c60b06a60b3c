import ChatCore
import Testing

@testable import orchestrator

@Suite struct FairQueueTests {
    private func drain(_ queue: inout FairQueue<String>) -> [String] {
        var order: [String] = []
        while let next = queue.popFirst(where: { _, _ in true }) { order.append(next) }
        return order
    }

    @Test func aSingleTurnWaitsBehindOneOfABusyNeighbour() {
        var queue = FairQueue<String>()
        for index in 0..<500 { queue.append("busy\(index)", kind: .chat, user: UserKey(tenant: "a", user: "busy")) }
        queue.append("lone", kind: .chat, user: UserKey(tenant: "a", user: "lone"))
        queue.append("other", kind: .chat, user: UserKey(tenant: "b", user: "x"))
        #expect(queue.waiting.chat.turns == 502)
        #expect(queue.waiting.chat.tenants.first == .init(tenant: "a", turns: 501, users: 2))
        let foreseen = queue.order
        let order = drain(&queue)
        #expect(foreseen == order)
        #expect(order.firstIndex(of: "lone") ?? 9 <= 2)
        #expect(order.firstIndex(of: "other") ?? 9 <= 1)
        #expect(order.count == 502 && queue.isEmpty)
        #expect(order.filter { $0.hasPrefix("busy") } == (0..<500).map { "busy\($0)" })
    }

    @Test func streamsGoBeforeChatsBeforeBatch() {
        var queue = FairQueue<String>()
        let user = UserKey(tenant: "a", user: "u")
        for kind in [Turn.Kind.batch, .chat, .stream] { queue.append(kind.rawValue, kind: kind, user: user) }
        #expect(drain(&queue) == ["stream", "chat", "batch"])
    }

    @Test func whatMayNotRunKeepsItsPlace() {
        var queue = FairQueue<String>()
        let user = UserKey(tenant: "a", user: "u")
        for name in ["x", "y", "z"] { queue.append(name, kind: .chat, user: user) }
        #expect(queue.popFirst { name, _ in name == "y" } == "y")
        #expect(queue.popFirst { _, _ in false } == nil)
        #expect(drain(&queue) == ["x", "z"])
    }

    @Test func whoLeavesIsForgotten() {
        var queue = FairQueue<String>()
        for name in ["x", "y", "z"] { queue.append(name, kind: .batch, user: UserKey(tenant: name, user: "u")) }
        queue.remove { $0 == "y" }
        queue.remove { $0 == "nobody" }
        #expect(queue.count == 2 && queue.waiting.batch.tenants.count == 2)
        #expect(drain(&queue) == ["x", "z"])
    }

    /// However many streams keep coming, a batch turn's time comes: it becomes a chat, then a stream.
    @Test func whoWaitsTooLongBecomesMoreUrgent() {
        var queue = FairQueue<String>()
        let (start, user) = (ContinuousClock.now, UserKey(tenant: "a", user: "u"))
        let patience = ByKind<Duration?>(stream: nil, chat: .seconds(10), batch: .seconds(60))
        queue.append("old batch", kind: .batch, user: user, at: start)
        queue.append("batch", kind: .batch, user: user, at: start + .seconds(50))
        queue.append("chat", kind: .chat, user: user, at: start + .seconds(59))
        queue.append("stream", kind: .stream, user: UserKey(tenant: "b", user: "u"), at: start)
        queue.age(at: start + .seconds(59), patience: patience)
        #expect(queue.order == ["stream", "chat", "old batch", "batch"])
        queue.age(at: start + .seconds(60), patience: patience)
        #expect(queue.waiting.chat.turns == 2 && queue.waiting.batch.turns == 1)
        queue.age(at: start + .seconds(69), patience: patience)
        #expect(queue.waiting.stream.turns == 2)
        queue.age(at: start + .seconds(70), patience: patience)
        #expect(queue.order == ["stream", "chat", "old batch", "batch"])
        #expect(queue.waiting.stream.turns == 3)
    }

    @Test func tenantsAndUsersAreToldApartByTheirBytes() {
        var queue = FairQueue<String>()
        for index in 0..<3 { queue.append("a\(index)", kind: .chat, user: UserKey(tenant: "\u{E9}", user: "u")) }
        queue.append("b", kind: .chat, user: UserKey(tenant: "e\u{301}", user: "u"))
        #expect(queue.waiting.chat.tenants.map(\.turns) == [3, 1])
        #expect(drain(&queue).firstIndex(of: "b") ?? 9 <= 1)
        for index in 0..<3 { queue.append("a\(index)", kind: .chat, user: UserKey(tenant: "t", user: "\u{E9}")) }
        queue.append("b", kind: .chat, user: UserKey(tenant: "t", user: "e\u{301}"))
        #expect(drain(&queue).firstIndex(of: "b") ?? 9 <= 1)
    }
}
