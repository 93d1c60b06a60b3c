import ChatCore

/// How many clients may follow turns at a gateway, in all and for each key and turn; counts those that do. Pure.
struct ReaderPlaces: Sendable {
    struct Limits: Sendable {
        let all: Int
        /// Of one key. Near all of them: a key may be a whole application's.
        let ofKey: Int
        /// Of one turn: its client's connections, of which the network may have lost some that nobody has noticed yet.
        var ofTurn = 32
        /// Of one key's, those whose turn Redis does not know: each looks for it several times a second.
        var searching: Int { max(1, ofKey / 10) }

        /// - Parameter share: what one key may have, in percent.
        init(all: Int, share: Int) {
            self.all = all
            ofKey = max(1, all / 100 * share + all % 100 * share / 100)
        }
    }

    private struct Key {
        var readers = 0
        var searching = 0
    }

    let limits: Limits
    private var count = 0
    private var keys: [String: Key] = [:]

    init(_ limits: Limits) { self.limits = limits }

    /// Why one more client cannot follow a turn; nil when it can.
    /// - Parameter readers: clients that follow the same turn.
    func refusal(ofKey key: String, isKnown: Bool, readers: Int) -> APIError? {
        let held = keys[key] ?? Key()
        if readers >= limits.ofTurn { return .tooManyReadersOfTurn(limits.ofTurn) }
        if count >= limits.all { return .tooManyReaders }
        if held.readers >= limits.ofKey { return .tooManyReadersOfKey(limits.ofKey) }
        if !isKnown, held.searching >= limits.searching { return .logLost }
        return nil
    }

    mutating func take(_ key: String, isKnown: Bool) {
        count += 1
        keys[key, default: Key()].readers += 1
        if !isKnown { keys[key]?.searching += 1 }
    }

    /// A reader's turn was found.
    mutating func found(_ key: String) { keys[key]?.searching -= 1 }

    mutating func leave(_ key: String, isKnown: Bool) {
        count -= 1
        keys[key]?.readers -= 1
        if !isKnown { keys[key]?.searching -= 1 }
        if keys[key]?.readers == 0 { keys[key] = nil }
    }
}
