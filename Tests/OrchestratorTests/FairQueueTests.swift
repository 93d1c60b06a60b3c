import ChatCore
import Testing

@testable import orchestrator

@Suite struct FairQueueTests {
    private func drain(_ queue: inout FairQueue<String>) -> [String] {
        var order: [String] = []
        while let next = queue.popFirst(where: { _ in true }) { order.append(next) }
        return order
    }

    @Test func aSingleTurnWaitsBehindOneOfABusyNeighbour() {
        var queue = FairQueue<String>()
        for index in 0..<500 { queue.append("busy\(index)", kind: .chat, user: UserKey(tenant: "a", user: "busy")) }
        queue.append("lone", kind: .chat, user: UserKey(tenant: "a", user: "lone"))
        queue.append("other", kind: .chat, user: UserKey(tenant: "b", user: "x"))
        let order = drain(&queue)
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
        #expect(queue.popFirst { $0 == "y" } == "y")
        #expect(queue.popFirst { _ in false } == nil)
        #expect(drain(&queue) == ["x", "z"])
    }
}
