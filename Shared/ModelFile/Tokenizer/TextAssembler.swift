/// Makes text of tokens that come one by one, and watches for stop strings.
///
/// What it returns is certain: whole Unicode scalars, and never a piece of what may yet become a stop string. The text
/// depends on the bytes alone, not on how tokens cut them, so feeding logged ids again rebuilds the same state.
/// Holds back at most the longest stop string and three bytes.
public struct TextAssembler: Sendable {
    private let tokenizer: Tokenizer
    private var matchers: [StopMatcher]
    /// Bytes that may belong to a stop string; those before them were handed to `decoder`.
    private var held: [UInt8] = []
    private var decoder = UTF8Decoder()
    /// Whether a space that comes next stands for no space: the first of a text in vocabularies that put one there.
    private var dropsSpace: Bool
    /// Whether a stop string was completed. The text before it has been returned, nothing comes after.
    public private(set) var stopped = false

    /// Empty stop strings are ignored. Time per byte grows with the number of stop strings: the caller bounds it.
    public init(tokenizer: Tokenizer, stop: [String] = []) {
        self.tokenizer = tokenizer
        dropsSpace = tokenizer.dropsLeadingSpace
        matchers = stop.filter { !$0.isEmpty }.map { StopMatcher(Array($0.utf8)) }
    }

    /// Takes the next token and returns the text that is now certain, often none. Control tokens have no text.
    public mutating func append(_ token: Int32) -> String {
        let bytes = tokenizer.bytes(of: token)
        guard dropsSpace, let first = bytes.first else { return append(bytes: bytes) }
        dropsSpace = false
        return append(bytes: first == 0x20 ? bytes.dropFirst() : bytes)
    }

    /// Ends the text and returns what was held back, with U+FFFD for a character that was never finished. Empty when a
    /// stop string was completed.
    public mutating func finish() -> String {
        guard !stopped else { return "" }
        let text = decoder.append(held) + decoder.finish()
        held = []
        return text
    }

    mutating func append(bytes: some Sequence<UInt8>) -> String {
        guard !stopped else { return "" }
        guard !matchers.isEmpty else { return decoder.append(bytes) }
        for byte in bytes {
            held.append(byte)
            // Of stop strings that end at the same byte the longest counts: it began first.
            var completed = 0
            for index in matchers.indices where matchers[index].advance(byte) {
                completed = max(completed, matchers[index].length)
            }
            if completed > 0 {
                stopped = true
                held.removeLast(completed)
                let text = decoder.append(held) + decoder.finish()
                held = []
                return text
            }
        }
        let possible = matchers.reduce(0) { max($0, $1.matched) }
        let certain = held.count - possible
        defer { held.removeFirst(certain) }
        return decoder.append(held[..<certain])
    }
}

/// Finds one stop string in a stream of bytes (Knuth, Morris, Pratt): constant time for each byte, averaged.
private struct StopMatcher: Sendable {
    private let pattern: [UInt8]
    /// For each prefix of the pattern, the length of its longest proper suffix that is a prefix as well.
    private let border: [Int]
    /// How many bytes at the end of the stream may be the begin of the stop string.
    private(set) var matched = 0

    var length: Int { pattern.count }

    init(_ pattern: [UInt8]) {
        self.pattern = pattern
        var border = [Int](repeating: 0, count: pattern.count)
        var length = 0
        for index in pattern.indices.dropFirst() {
            while length > 0, pattern[index] != pattern[length] { length = border[length - 1] }
            if pattern[index] == pattern[length] { length += 1 }
            border[index] = length
        }
        self.border = border
    }

    /// Takes a byte; true when it completes the stop string, after which the matcher is not used again.
    mutating func advance(_ byte: UInt8) -> Bool {
        while matched > 0, pattern[matched] != byte { matched = border[matched - 1] }
        if pattern[matched] == byte { matched += 1 }
        return matched == pattern.count
    }
}
