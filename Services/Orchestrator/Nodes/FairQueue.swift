import ChatCore
import DequeModule

/// Waiting turns in the order in which they shall run: streams before chats before batch; within each, tenants take turns,
/// and within a tenant its users do. One user with five hundred turns delays another's single one by one turn.
///
/// Every turn costs the same here, so deficit round-robin (Shreedhar and Varghese, 1995) is plain round-robin. Who has
/// waited too long behind more urgent kinds becomes one of them.
struct FairQueue<Element> {
    /// One kind's turns.
    private struct Line {
        struct Entry {
            let element: Element
            /// Since when it waits in this line.
            let since: ContinuousClock.Instant
        }

        struct Tenant {
            var order: Deque<ExactName> = []
            var users: [ExactName: Deque<Entry>] = [:]

            mutating func popFirst(where mayRun: (Element) -> Bool) -> Element? {
                for position in order.indices {
                    let name = order[position]
                    guard let first = users[name]?.firstIndex(where: { mayRun($0.element) }),
                        let entry = users[name]?.remove(at: first)
                    else { continue }
                    order.remove(at: position)
                    if users[name]?.isEmpty ?? true { users[name] = nil } else { order.append(name) }
                    return entry.element
                }
                return nil
            }
        }

        var order: Deque<ExactName> = []
        var tenants: [ExactName: Tenant] = [:]

        mutating func append(_ entry: Entry, user: UserKey) {
            let (tenant, name) = (ExactName(user.tenant), ExactName(user.user))
            if tenants[tenant] == nil { order.append(tenant) }
            if tenants[tenant, default: Tenant()].users[name] == nil {
                tenants[tenant, default: Tenant()].order.append(name)
            }
            tenants[tenant, default: Tenant()].users[name, default: []].append(entry)
        }

        mutating func popFirst(where mayRun: (Element) -> Bool) -> Element? {
            for position in order.indices {
                let name = order[position]
                guard let element = tenants[name]?.popFirst(where: mayRun) else { continue }
                order.remove(at: position)
                if tenants[name]?.users.isEmpty ?? true { tenants[name] = nil } else { order.append(name) }
                return element
            }
            return nil
        }

        /// Takes the entries that came before `time`, without an effect on whose turn it is.
        mutating func removeAll(before time: ContinuousClock.Instant) -> [(user: UserKey, element: Element)] {
            var removed: [(UserKey, Element)] = []
            for (name, tenant) in tenants {
                for (user, entries) in tenant.users {
                    let old = entries.prefix { $0.since <= time }
                    guard !old.isEmpty else { continue }
                    removed += old.map { (UserKey(tenant: name.text, user: user.text), $0.element) }
                    tenants[name]?.users[user]?.removeFirst(old.count)
                }
            }
            if !removed.isEmpty { removeEmpty() }
            return removed
        }

        mutating func remove(where isIt: (Element) -> Bool) -> Bool {
            for (name, tenant) in tenants {
                for (user, entries) in tenant.users {
                    guard let position = entries.firstIndex(where: { isIt($0.element) }) else { continue }
                    tenants[name]?.users[user]?.remove(at: position)
                    removeEmpty()
                    return true
                }
            }
            return false
        }

        private mutating func removeEmpty() {
            for (name, tenant) in tenants {
                for (user, entries) in tenant.users where entries.isEmpty {
                    tenants[name]?.users[user] = nil
                    tenants[name]?.order.removeAll { $0 == user }
                }
                if tenants[name]?.users.isEmpty ?? true {
                    tenants[name] = nil
                    order.removeAll { $0 == name }
                }
            }
        }
    }

    private var lines = ByKind(repeating: Line())
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(
        _ element: Element, kind: Turn.Kind, user: UserKey, at now: ContinuousClock.Instant = .now
    ) {
        lines[kind].append(.init(element: element, since: now), user: user)
        count += 1
    }

    /// Takes the next element that `mayRun` accepts in its line; elements it refuses keep their place.
    mutating func popFirst(where mayRun: (Element, Turn.Kind) -> Bool) -> Element? {
        for kind in Turn.Kind.byUrgency {
            guard let element = lines[kind].popFirst(where: { mayRun($0, kind) }) else { continue }
            count -= 1
            return element
        }
        return nil
    }

    mutating func remove(where isIt: (Element) -> Bool) {
        for kind in Turn.Kind.byUrgency where lines[kind].remove(where: isIt) {
            count -= 1
            return
        }
    }

    /// Moves what has waited in its line for longer than `patience` into the next more urgent one.
    mutating func age(at now: ContinuousClock.Instant, patience: ByKind<Duration?>) {
        for (kind, next) in [(Turn.Kind.chat, Turn.Kind.stream), (.batch, .chat)] {
            guard let patience = patience[kind] else { continue }
            for (user, element) in lines[kind].removeAll(before: now - patience) {
                lines[next].append(.init(element: element, since: now), user: user)
            }
        }
    }

    /// All elements in the order in which they would run if nothing else came.
    var order: [Element] {
        var copy = self
        var elements: [Element] = []
        elements.reserveCapacity(count)
        while let next = copy.popFirst(where: { _, _ in true }) { elements.append(next) }
        return elements
    }

    /// Who waits in each line.
    var waiting: ByKind<OrchestratorLoad.Waiting> {
        func waiting(_ kind: Turn.Kind) -> OrchestratorLoad.Waiting {
            .init(
                lines[kind].tenants.map { name, tenant in
                    .init(
                        tenant: name.text, turns: tenant.users.values.reduce(0) { $0 + $1.count },
                        users: tenant.users.count)
                })
        }
        return ByKind(stream: waiting(.stream), chat: waiting(.chat), batch: waiting(.batch))
    }
}
