import Foundation

/// One pass over the JSON text of a request, before it is decoded: which fields it has, and the text with each field of an
/// object once. Of one that is written twice the last counts, as in other servers; the decoder would take the first.
///
/// It checks no more of the text than it needs: what is wrong otherwise the decoder refuses.
struct JSONMembers {
    /// The names of the outermost object's fields, and of the objects in its lists as `context[0].name`.
    private(set) var fields: [Field] = []
    private(set) var text: Data

    struct Field: Equatable {
        /// `context[0].` for a field of such an object, else empty.
        let path: String
        let name: String
    }

    /// Why a text is not taken.
    enum Failure: Error, Equatable { case noObject, tooDeep, tooManyMembers }

    /// Of objects and lists within each other.
    static let maximumDepth = 512
    /// Of one object.
    static let maximumMembers = 1024

    fileprivate struct Frame {
        let isObject: Bool
        /// Of an object whose fields are told: what stands before their names.
        var path: String?
        /// Of a list in the outermost object: its name, and how many objects it had.
        var list: String?
        var objects = 0
        /// Where each member begins, and which of them has a name.
        var starts: [Int] = []
        var members: [String: Int] = [:]
        var awaitsName = true
        var lastName = ""
    }

    init(_ body: Data) throws(Failure) {
        text = body
        let doubles = try body.withUnsafeBytes { bytes in
            Result { () throws(Failure) in try look(through: bytes) }
        }.get()
        if !doubles.isEmpty { text = body.withUnsafeBytes { JSONMembers.without(doubles, $0) } }
    }

    /// Notes the fields.
    /// - Returns: where those are that another one of the same name follows.
    private mutating func look(through bytes: UnsafeRawBufferPointer) throws(Failure) -> [Range<Int>] {
        var doubles: [Range<Int>] = []
        var frames: [Frame] = []
        var position = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        var isOver = false
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): break
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                let isObject = byte == UInt8(ascii: "{")
                guard !isOver, isObject || !frames.isEmpty else { throw .noObject }
                guard frames.count < JSONMembers.maximumDepth else { throw .tooDeep }
                frames.append(JSONMembers.frame(isObject: isObject, in: &frames))
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                guard let frame = frames.popLast(), frame.isObject == (byte == UInt8(ascii: "}")) else {
                    throw .noObject
                }
                isOver = frames.isEmpty
            case UInt8(ascii: "\""):
                guard let last = frames.indices.last, let end = JSONMembers.end(ofStringAt: position, bytes) else {
                    throw .noObject
                }
                if frames[last].isObject, frames[last].awaitsName {
                    guard let name = JSONMembers.name(bytes[position...end]) else { throw .noObject }
                    guard frames[last].add(name, at: position, &doubles) else { throw .tooManyMembers }
                    if let path = frames[last].path { fields.append(Field(path: path, name: name)) }
                }
                position = end
            case UInt8(ascii: ","):
                guard let last = frames.indices.last else { throw .noObject }
                frames[last].awaitsName = true
            default: guard !frames.isEmpty else { throw .noObject }
            }
            position += 1
        }
        guard isOver else { throw .noObject }
        return doubles
    }

    private static func frame(isObject: Bool, in frames: inout [Frame]) -> Frame {
        guard let parent = frames.last else { return Frame(isObject: isObject, path: "") }
        if isObject, let list = parent.list {
            frames[frames.count - 1].objects += 1
            return Frame(isObject: true, path: "\(list)[\(parent.objects)].")
        }
        return Frame(isObject: isObject, list: !isObject && parent.path == "" ? parent.lastName : nil)
    }

    /// The index of the quotation mark that ends the string which begins at `start`.
    private static func end(ofStringAt start: Int, _ bytes: UnsafeRawBufferPointer) -> Int? {
        var position = start + 1
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""): return position
            case UInt8(ascii: "\\"): position += 2
            default: position += 1
            }
        }
        return nil
    }

    /// - Parameter quoted: with its quotation marks.
    private static func name(_ quoted: Slice<UnsafeRawBufferPointer>) -> String? {
        guard quoted.contains(UInt8(ascii: "\\")) else {
            return String(validating: quoted.dropFirst().dropLast(), as: UTF8.self)
        }
        return try? JSONDecoder().decode(String.self, from: Data(quoted))
    }

    /// - Parameter ranges: some may lie within others.
    private static func without(_ ranges: [Range<Int>], _ bytes: UnsafeRawBufferPointer) -> Data {
        var text = Data(capacity: bytes.count)
        var position = 0
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where range.upperBound > position {
            if range.lowerBound > position { text += bytes[position..<range.lowerBound] }
            position = range.upperBound
        }
        return text + bytes[position...]
    }
}

extension JSONMembers.Frame {
    /// Notes a member that begins at `start`, and the one of the same name before it as superfluous.
    fileprivate mutating func add(_ name: String, at start: Int, _ doubles: inout [Range<Int>]) -> Bool {
        guard starts.count < JSONMembers.maximumMembers else { return false }
        awaitsName = false
        lastName = name
        let number = starts.count
        starts.append(start)
        // It ends where the next begins; there is a next one, since this is a later one.
        if let earlier = members.updateValue(number, forKey: name) {
            doubles.append(starts[earlier]..<starts[earlier + 1])
        }
        return true
    }
}
