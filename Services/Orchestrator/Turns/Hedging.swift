import Synchronization

/// The budget for generating a premium tier's turns at two nodes at once: duplicated work as a share of all work.
final class Hedging: Sendable {
    /// The books, in tokens that nodes were asked to compute before the first new one.
    struct Books: Equatable {
        var work = 0.0
        var duplicated = 0.0
        let share: Double

        /// What is older counts half each time that so many tokens have come.
        static let memory = 1_000_000.0

        init(share: Double) { self.share = share }

        mutating func add(_ tokens: Int) {
            work += Double(tokens)
            guard work > Books.memory else { return }
            work /= 2
            duplicated /= 2
        }

        mutating func duplicate(_ tokens: Int) { duplicated += Double(tokens) }

        func allows(_ tokens: Int) -> Bool { duplicated + Double(tokens) <= share * work }
    }

    let isOn: Bool
    private let books: Mutex<Books>

    /// - Parameter percent: duplicated work for each hundred tokens of work; 0 switches hedging off.
    init(percent: Int) {
        isOn = percent > 0
        books = Mutex(Books(share: Double(percent) / 100))
    }

    func work(_ tokens: Int) { books.withLock { $0.add(tokens) } }
    func allows(_ tokens: Int) -> Bool { books.withLock { $0.allows(tokens) } }
    func duplicate(_ tokens: Int) { books.withLock { $0.duplicate(tokens) } }
}
