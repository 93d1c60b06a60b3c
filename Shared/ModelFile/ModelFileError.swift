/// What is wrong with a model file, or with what it asks of us, said so that a person can find the place.
///
/// A model file is untrusted input: every problem in it ends in one of these, never in a trap.
public struct ModelFileError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Byte offset in the file where the offending value stands; nil when the problem has no single place.
    public let offset: UInt64?
    /// The field that is wrong, in the words of the file format, for example `tensor 'output.weight' offset`.
    public let field: String
    /// Why it is wrong.
    public let reason: String

    public init(offset: UInt64?, field: String, reason: String) {
        self.offset = offset
        self.field = field
        self.reason = reason
    }

    public var description: String {
        guard let offset else { return "model file: \(field): \(reason)" }
        return "model file: byte \(offset): \(field): \(reason)"
    }
}
