import ChatCore
import DequeModule

/// Waiting turns in the order in which they shall run: streams before chats before batch; within each, tenants take turns,
/// and within a tenant its users do. One user with five hundred turns delays another's single one by one turn.
///
/// Every turn costs the same here, so deficit round-robin (Shreedhar and Varghese, 1995) is plain round-robin.
struct FairQueue<Element> {
    private struct Ring<Key: Hashable, Value> {
        var order: Deque<Key> = []
        var values: [Key: Value] = [:]
    }

    private typealias Users = Ring<String, Deque<Element>>
    private var classes: [Turn.Kind: Ring<String, Users>] = [:]
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ element: Element, kind: Turn.Kind, user: UserKey) {
        var tenants = classes[kind] ?? Ring()
        var users = tenants.values[user.tenant] ?? Ring()
        if users.order.isEmpty { tenants.order.append(user.tenant) }
        if users.values[user.user] == nil { users.order.append(user.user) }
        users.values[user.user, default: []].append(element)
        tenants.values[user.tenant] = users
        classes[kind] = tenants
        count += 1
    }

    /// Takes the next element that `mayRun` accepts; elements it refuses keep their place.
    mutating func popFirst(where mayRun: (Element) -> Bool) -> Element? {
        for kind in [Turn.Kind.stream, .chat, .batch] {
            guard var tenants = classes[kind] else { continue }
            for tenantPosition in tenants.order.indices {
                let tenant = tenants.order[tenantPosition]
                guard var users = tenants.values[tenant] else { continue }
                for userPosition in users.order.indices {
                    let user = users.order[userPosition]
                    guard var waiting = users.values[user], let first = waiting.firstIndex(where: mayRun) else {
                        continue
                    }
                    let element = waiting.remove(at: first)
                    users.order.remove(at: userPosition)
                    users.values[user] = waiting.isEmpty ? nil : waiting
                    if !waiting.isEmpty { users.order.append(user) }
                    tenants.order.remove(at: tenantPosition)
                    tenants.values[tenant] = users.order.isEmpty ? nil : users
                    if !users.order.isEmpty { tenants.order.append(tenant) }
                    classes[kind] = tenants
                    count -= 1
                    return element
                }
            }
        }
        return nil
    }
}
