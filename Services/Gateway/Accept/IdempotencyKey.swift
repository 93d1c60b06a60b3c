import ChatCore
import HTTPTypes
import Hummingbird
import ServiceKit

/// The header Idempotency-Key: the same key with the same request is the same turn for a day.
struct IdempotencyKey: Equatable {
    static let header = HTTPField.Name("Idempotency-Key")
    /// Says of an answer that its request had been made before.
    static let replayedHeader = HTTPField.Name("Idempotent-Replayed")

    let text: String

    /// The key of a request; nil when it has none.
    /// - Throws: `APIError` 400 when it is none.
    init?(_ headers: HTTPFields) throws(APIError) {
        guard let name = IdempotencyKey.header else { return nil }
        let values = headers[values: name]
        guard let text = values.first else { return nil }
        guard values.count == 1 else { throw .invalid("Idempotency-Key", "is given more than once") }
        guard (1...Turn.Idempotency.maximumKeyBytes).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw .invalid(
                "Idempotency-Key",
                "must have 1 to \(Turn.Idempotency.maximumKeyBytes) visible ASCII characters without spaces")
        }
        self.text = text
    }

    func idempotency(for request: TurnRequest, _ kind: Turn.Kind) -> Turn.Idempotency {
        Turn.Idempotency(key: text, requestDigest: request.digest(kind))
    }
}

extension TurnRequest {
    /// What tells one request from another: everything that the API understands of it, and the path. Spaces and the
    /// order of fields, which a client's library may choose anew each time, do not count.
    func digest(_ kind: Turn.Kind) -> String {
        var digest = FieldDigest()
        digest.add(kind.rawValue)
        digest.add(message)
        digest.add(userID.text)
        digest.add(context.map { $0.count + 1 } ?? 0)
        for entry in context ?? [] {
            digest.add(entry.role.rawValue)
            digest.add(entry.content)
        }
        digest.add(optional: conversationID.map { "\($0)" })
        digest.add(optional: system)
        digest.add(optional: maxTokens.map { "\($0)" })
        digest.add(optional: temperature.map { "\($0)" })
        digest.add(optional: topP.map { "\($0)" })
        digest.add(optional: seed.map { "\($0)" })
        digest.add(stop.map { $0.texts.count + 1 } ?? 0)
        for text in stop?.texts ?? [] { digest.add(text) }
        digest.add(optional: model)
        return digest.hexadecimal()
    }
}

extension FieldDigest {
    fileprivate mutating func add(optional text: String?) {
        add(text == nil ? 0 : 1)
        if let text { add(text) }
    }
}
