/// Names of clients' making as values of a label: the first ones as they are, all others as one.
struct BoundedNames {
    static let other = "other"

    private let capacity: Int
    private var names: Set<String> = []

    init(capacity: Int) { self.capacity = capacity }

    mutating func name(_ name: String) -> String {
        if names.contains(name) { return name }
        guard names.count < capacity else { return BoundedNames.other }
        names.insert(name)
        return name
    }
}
