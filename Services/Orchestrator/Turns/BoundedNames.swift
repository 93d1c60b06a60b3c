import ChatCore

/// Names of clients' making as values of a label: the first ones as they are, all others as one.
struct BoundedNames {
    static let other = "other"

    private let capacity: Int
    private var names: Set<ExactName> = []

    init(capacity: Int) { self.capacity = capacity }

    mutating func name(_ name: String) -> String {
        let exact = ExactName(name)
        if names.contains(exact) { return name }
        guard names.count < capacity else { return BoundedNames.other }
        names.insert(exact)
        return name
    }
}
