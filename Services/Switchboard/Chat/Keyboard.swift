import ServiceKit

/// The keys, in order, for whoever wants the next one; what was typed ahead waits.
@MainActor
final class Keyboard {
    private let input: Mailbox<[UInt8]>
    private var decoder: KeyDecoder
    private var waiting: [Key] = []
    private var isAtEnd = false

    init(_ terminal: Terminal) {
        input = terminal.input
        decoder = KeyDecoder(isTerminal: terminal.readsKeys)
    }

    /// The next key; nil when there will be none.
    func next() async -> Key? {
        while waiting.isEmpty {
            guard !isAtEnd, let delivery = await input.receive() else { return nil }
            waiting += delivery.elements.flatMap { decoder.feed($0) }
        }
        return waiting.removeFirst()
    }

    /// Waits for Ctrl-C; everything else stays for `next`. Returns when the task is cancelled or the input ends.
    func interrupts(_ onInterrupt: () -> Void) async {
        while !Task.isCancelled, !isAtEnd {
            guard let delivery = await input.receive() else {
                isAtEnd = !Task.isCancelled
                return
            }
            for key in delivery.elements.flatMap({ decoder.feed($0) }) {
                if key == .interrupt {
                    waiting = []  // who stops an answer has thought again about what was typed ahead
                    onInterrupt()
                } else {
                    waiting.append(key)
                }
            }
        }
    }
}
