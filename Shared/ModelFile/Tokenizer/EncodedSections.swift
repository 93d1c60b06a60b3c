/// The stretches between special tokens that were encoded, for prompts that share most of their text: each stretch is
/// encoded once. Whatever stands between two special tokens is encoded without a look at what is around it.
public struct EncodedSections {
    private struct Key: Hashable {
        let text: [UInt8]
        let isStart: Bool
        let parses: Bool
    }

    /// Of an output that has more ids no more than that is told: the rest of its text is not looked at.
    public var limit: Int
    /// Bytes that were encoded, so far.
    public private(set) var encodedBytes = 0
    private var known: [Key: [Int32]] = [:]
    private let keeps: Bool

    /// - Parameter keeps: false for a single use.
    public init(limit: Int, keeps: Bool = true) {
        self.limit = limit
        self.keeps = keeps
    }

    /// Appends the ids of a section: those known, or what `encode` appends, which may stop at the limit that it is given.
    mutating func append(
        _ text: UnsafeRawBufferPointer, isStart: Bool, parses: Bool, to output: inout [Int32],
        encode: (_ limit: Int, _ output: inout [Int32]) -> Void
    ) {
        // One more than the limit tells that there are more.
        let enough = limit == .max ? Int.max : limit + 1
        guard output.count < enough else { return }
        guard keeps else { return encode(enough, &output) }
        let key = Key(text: Array(text), isStart: isStart, parses: parses)
        if let ids = known[key] {
            output.append(contentsOf: ids)
            return
        }
        let start = output.count
        encode(enough, &output)
        encodedBytes += text.count
        // What reached the limit may have stopped halfway.
        if output.count < enough { known[key] = Array(output[start...]) }
    }
}
