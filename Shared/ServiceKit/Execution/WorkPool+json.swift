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
    /// - Parameters:
    ///   - bytes: about how much it comes to.
    ///   - room: for so many bytes more, which are appended without a copy.
    /// - Throws: `EncodingError`, `Full`, `CancellationError`.
    public func encode(_ value: some Encodable & Sendable, bytes: Int, room: Int = 0) async throws -> [UInt8] {
        try await run(bytes: bytes) { _ in
            let data = try JSONEncoder().encode(value)
            var bytes: [UInt8] = []
            bytes.reserveCapacity(data.count + room)
            bytes.append(contentsOf: data)
            return bytes
        }
    }
}
