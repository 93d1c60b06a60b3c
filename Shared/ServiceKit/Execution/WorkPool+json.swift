import ChatCore
import Foundation

extension WorkPool {
    /// Reads and checks a message of any size.
    /// - Throws: `DecodingError`, `WireError`, `Full`, `CancellationError`.
    public func decode<Message: WireMessage & Sendable>(
        _ type: Message.Type, from body: [UInt8]
    ) async throws -> Message {
        try await run(bytes: body.count) { _ in try Message(message: body) }
    }

    /// Writes a value as JSON.
    /// - Parameter bytes: about how much it comes to.
    /// - Throws: `EncodingError`, `Full`, `CancellationError`.
    public func encode(_ value: some Encodable & Sendable, bytes: Int) async throws -> [UInt8] {
        try await run(bytes: bytes) { _ in Array(try JSONEncoder().encode(value)) }
    }
}
