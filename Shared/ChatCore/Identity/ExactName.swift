/// A name that tells somebody from somebody else: two are the same when their UTF-8 bytes are.
///
/// Swift compares strings by canonical equivalence, so that "é" is the same in one scalar as in two, and "K" the same as
/// the sign for kelvin. Redis, PostgreSQL and whoever gave the names compare bytes: to them these are two people.
public struct ExactName: Sendable, Hashable, Comparable, ExpressibleByStringLiteral {
    public let text: String

    public init(_ text: String) { self.text = text }

    public init(stringLiteral text: String) { self.text = text }

    public static func == (left: ExactName, right: ExactName) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

    public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        // No byte of UTF-8: it keeps ("a", "bc") apart from ("ab", "c") where names are hashed one after the other.
        hasher.combine(UInt8.max)
    }

    public static func < (left: ExactName, right: ExactName) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }
}
