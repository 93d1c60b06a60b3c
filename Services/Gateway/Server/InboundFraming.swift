/// Where a client's bytes come to the end of a head or of a chunked body, and how large a chunk says it is: the decoder tells
/// neither. Pure.
///
/// It only looks (RFC 9112, sections 2.1 and 7.1). What is malformed the decoder refuses, so nothing is refused here but a
/// chunk that no body may have: the decoder would wait for its bytes.
struct InboundFraming {
    /// What the next bytes are part of.
    enum Kind: Equatable {
        /// A request's head, or what stands before it.
        case head
        /// A body whose length its head said.
        case counted
        case chunked
    }

    enum Look: Equatable {
        /// So many bytes are to be decoded before what follows them can be judged.
        case pass(Int)
        /// A chunk is larger than any body may be.
        case chunkTooLarge
    }

    private enum State: Equatable {
        /// Before a head: empty lines count for nothing there.
        case between
        /// The line under way has no byte yet.
        case head(isLineEmpty: Bool)
        case chunkSize(Int)
        case chunkExtension(Int)
        /// Bytes of the chunk that are still to come.
        case chunk(Int)
        case chunkEnd
        case trailer(isLineEmpty: Bool)

        var isOfChunks: Bool {
            switch self {
            case .between, .head: false
            case .chunkSize, .chunkExtension, .chunk, .chunkEnd, .trailer: true
            }
        }
    }

    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")
    /// Bytes of a head that are kept: a method, and the first one of its path.
    private static let keptBytes = 34

    private let maximumChunk: Int
    private var state = State.between
    /// After a chunk that was too large nothing is looked at: the connection ends.
    private var isOver = false
    /// How the last head began.
    private var beginning: [UInt8] = []

    /// - Parameter maximumChunk: bytes that a chunk may say it has.
    init(maximumChunk: Int) { self.maximumChunk = maximumChunk }

    /// The method of the last head, when it begins as a request does: a word, a space and a path.
    var method: String? {
        let word = beginning.prefix { $0 != UInt8(ascii: " ") }
        guard !word.isEmpty, word.allSatisfy(InboundFraming.isOfWord),
            beginning.dropFirst(word.count).starts(with: [UInt8(ascii: " "), UInt8(ascii: "/")])
        else { return nil }
        return String(decoding: word, as: UTF8.self)
    }

    /// Characters of a token (RFC 9110, section 5.6.2) that methods are made of.
    private static func isOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// Looks at the bytes that come next; those that it says may pass it does not see again.
    mutating func look(at bytes: UnsafeRawBufferPointer, of kind: Kind) -> Look {
        guard !isOver else { return .pass(bytes.count) }
        switch kind {
        case .counted:
            state = .between
            return .pass(bytes.count)
        case .head: if state.isOfChunks { state = .between }
        case .chunked: if !state.isOfChunks { state = .chunkSize(0) }
        }
        var position = 0
        while position < bytes.count {
            if case .chunk(let left) = state {
                let skipped = min(left, bytes.count - position)
                state = skipped == left ? .chunkEnd : .chunk(left - skipped)
                position += skipped
                continue
            }
            let isEnd = take(bytes[position])
            guard !isOver else { return .chunkTooLarge }
            position += 1
            if isEnd {
                state = .between
                break
            }
        }
        return .pass(position)
    }

    /// - Returns: whether the head or the body ends with this byte.
    private mutating func take(_ byte: UInt8) -> Bool {
        let (endsLine, isReturn) = (byte == InboundFraming.lineFeed, byte == InboundFraming.carriageReturn)
        switch state {
        case .between:
            guard !endsLine, !isReturn else { break }
            beginning = [byte]
            state = .head(isLineEmpty: false)
        case .head(let isLineEmpty):
            if beginning.count < InboundFraming.keptBytes { beginning.append(byte) }
            if endsLine {
                if isLineEmpty { return true }
                state = .head(isLineEmpty: true)
            } else if !isReturn, isLineEmpty {
                state = .head(isLineEmpty: false)
            }
        case .chunkSize(let size):
            if endsLine {
                state = size == 0 ? .trailer(isLineEmpty: true) : .chunk(size)
            } else if let digit = Character(Unicode.Scalar(byte)).hexDigitValue {
                // The maximum is far from what would overflow.
                let size = size * 16 + digit
                if size > maximumChunk { isOver = true }
                state = .chunkSize(size)
            } else if !isReturn {
                state = .chunkExtension(size)
            }
        case .chunkExtension(let size):
            if endsLine { state = size == 0 ? .trailer(isLineEmpty: true) : .chunk(size) }
        case .chunkEnd: if endsLine { state = .chunkSize(0) }
        case .trailer(let isLineEmpty):
            if endsLine {
                if isLineEmpty { return true }
                state = .trailer(isLineEmpty: true)
            } else if !isReturn {
                state = .trailer(isLineEmpty: false)
            }
        case .chunk: break  // skipped as a whole
        }
        return false
    }
}
