/// Reads server-sent events (WHATWG HTML, section 9.2.6) out of bytes that arrive in pieces of any size.
public struct EventStreamParser: Sendable {
    public struct Event: Sendable, Equatable {
        /// The field `event`; "message" when the server named none.
        public let name: String
        /// The field `id`, when this event carried one.
        public let id: String?
        /// The fields `data`, with line feeds between.
        public let data: String

        public init(name: String = "message", id: String? = nil, data: String) {
            self.name = name
            self.id = id
            self.data = data
        }
    }

    public enum Item: Sendable, Equatable {
        case event(Event)
        /// A line that only shows that the server is alive.
        case comment
        /// How long the server wants to be left alone before the next connection.
        case retry(Duration)
    }

    /// Bytes of one line, and of the data of one event, at most: what a server may make a client keep.
    public static let maximumLineBytes = 1 << 20
    public static let maximumEventBytes = 4 << 20

    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    private var line: [UInt8] = []
    private var isFirstLine = true
    /// A carriage return ended the last line; a line feed right behind it belongs to it.
    private var endedByReturn = false
    private var name = ""
    private var id: String?
    private var data: String?

    public init() {}

    /// - Throws: `ChatClientError.malformed` when a line or an event is longer than its bound.
    public mutating func feed(_ bytes: some Sequence<UInt8>) throws(ChatClientError) -> [Item] {
        var items: [Item] = []
        // One call for the whole piece: the loop over its bytes is not left to a generic iterator.
        let outcome = bytes.withContiguousStorageIfAvailable { bytes in
            Result { () throws(ChatClientError) in try self.read(bytes, into: &items) }
        }
        if let outcome {
            try outcome.get()
        } else {
            let copy = Array(bytes)
            try copy.withUnsafeBufferPointer { bytes throws(ChatClientError) in try self.read(bytes, into: &items) }
        }
        return items
    }

    private mutating func read(
        _ bytes: UnsafeBufferPointer<UInt8>, into items: inout [Item]
    ) throws(ChatClientError) {
        var start = 0
        if endedByReturn, let first = bytes.first {
            endedByReturn = false
            if first == UInt8(ascii: "\n") { start = 1 }
        }
        while start < bytes.count {
            var end = start
            while end < bytes.count, bytes[end] != UInt8(ascii: "\n"), bytes[end] != UInt8(ascii: "\r") { end += 1 }
            let piece = UnsafeBufferPointer(rebasing: bytes[start..<end])
            guard line.count + piece.count <= EventStreamParser.maximumLineBytes else {
                throw .malformed("a line of the stream has more than \(EventStreamParser.maximumLineBytes) bytes")
            }
            guard end < bytes.count else { return line.append(contentsOf: piece) }
            if line.isEmpty {
                // As nearly always, the line came in one piece: it is read where it lies.
                try endLine(piece, into: &items)
            } else {
                var whole: [UInt8] = []
                swap(&whole, &line)
                whole.append(contentsOf: piece)
                try whole.withUnsafeBufferPointer { line throws(ChatClientError) in try endLine(line, into: &items) }
                whole.removeAll(keepingCapacity: true)
                line = whole
            }
            start = end + 1
            if bytes[end] == UInt8(ascii: "\r") {
                endedByReturn = start == bytes.count
                if start < bytes.count, bytes[start] == UInt8(ascii: "\n") { start += 1 }
            }
        }
    }

    private mutating func endLine(
        _ bytes: UnsafeBufferPointer<UInt8>, into items: inout [Item]
    ) throws(ChatClientError) {
        var line = bytes[...]
        if isFirstLine, line.starts(with: EventStreamParser.byteOrderMark) { line = line.dropFirst(3) }
        isFirstLine = false
        guard !line.isEmpty else {
            if let data { items.append(.event(Event(name: name.isEmpty ? "message" : name, id: id, data: data))) }
            (name, id, data) = ("", nil, nil)
            return
        }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        guard colon > line.startIndex else { return items.append(.comment) }
        var value = line[colon...].dropFirst()
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        try take(String(decoding: line[..<colon], as: UTF8.self), String(decoding: value, as: UTF8.self), &items)
    }

    private mutating func take(_ field: String, _ value: String, _ items: inout [Item]) throws(ChatClientError) {
        switch field {
        case "event": name = value
        case "data":
            let joined = data.map { $0 + "\n" + value } ?? value
            guard joined.utf8.count <= EventStreamParser.maximumEventBytes else {
                throw .malformed("an event has more than \(EventStreamParser.maximumEventBytes) bytes")
            }
            data = joined
        case "id" where !value.utf8.contains(0): id = value
        case "retry":
            // Beyond nine digits (eleven days) it is no pause that anybody means.
            guard value.utf8.count <= 9, let milliseconds = UInt32(value) else { break }
            items.append(.retry(.milliseconds(Int64(milliseconds))))
        default: break
        }
    }
}
