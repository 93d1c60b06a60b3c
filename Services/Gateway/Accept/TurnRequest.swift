import ChatCore
import Foundation
import ServiceKit

/// The body of the three POSTs, as the client wrote it.
struct TurnRequest: Decodable {
    let message: String
    let userID: Name
    let context: [ContextMessage]?
    let stream: Bool?
    let conversationID: Int64?
    let system: String?
    let maxTokens: Int?
    let temperature: Double?
    let topP: Double?
    let seed: UInt64?
    let stop: Stops?
    let model: String?
    /// Fields that were passed over because nobody here knows them; see `UNKNOWN_FIELDS`.
    private(set) var ignored: [JSONMembers.Field] = []

    enum CodingKeys: String, CodingKey, CaseIterable {
        case message, context, stream, system, temperature, seed, stop, model
        case userID = "user_id"
        case conversationID = "conversation_id"
        case maxTokens = "max_tokens"
        case topP = "top_p"
    }

    init(from decoder: any Decoder) throws {
        let fields = Fields(container: try decoder.container(keyedBy: CodingKeys.self))
        message = try fields.required(.message)
        userID = try fields.required(.userID)
        context = try fields.optional(.context)
        stream = try fields.optional(.stream)
        conversationID = try fields.optional(.conversationID)
        system = try fields.optional(.system)
        maxTokens = try fields.optional(.maxTokens)
        temperature = try fields.optional(.temperature)
        topP = try fields.optional(.topP)
        seed = try fields.optional(.seed)
        stop = try fields.optional(.stop)
        model = try fields.optional(.model)
    }

    /// Decodes fields so that every error carries its field: of a number that does not fit its type the library says
    /// only that it does not fit, in an error of its own that becomes a `DecodingError` further out.
    private struct Fields {
        let container: KeyedDecodingContainer<CodingKeys>

        func required<Value: Decodable>(_ key: CodingKeys) throws -> Value {
            try named(key) { try container.decode(Value.self, forKey: key) }
        }

        func optional<Value: Decodable>(_ key: CodingKeys) throws -> Value? {
            try named(key) { try container.decodeIfPresent(Value.self, forKey: key) }
        }

        private func named<Value>(_ key: CodingKeys, _ decode: () throws -> Value) throws -> Value {
            do {
                return try decode()
            } catch let error where !(error is DecodingError) {
                throw DecodingError.dataCorrupted(.init(codingPath: [key], debugDescription: "\(error)"))
            }
        }
    }

    /// A name, which clients also write as a number.
    struct Name: Decodable {
        let text: String

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int64.self) {
                text = String(number)
            } else {
                text = try container.decode(String.self)
            }
        }
    }

    struct ContextMessage: Decodable {
        let role: Turn.Message.Role
        let content: String

        enum CodingKeys: String, CodingKey, CaseIterable { case role, content }
    }

    /// One stop string or a list of them.
    struct Stops: Decodable {
        let texts: [String]

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let one = try? container.decode(String.self) {
                texts = [one]
            } else {
                texts = try container.decode([String].self)
            }
        }
    }
}

extension TurnRequest {
    /// Of all its texts.
    var textBytes: Int {
        (context ?? []).reduce(message.utf8.count + (system?.utf8.count ?? 0)) { $0 + $1.content.utf8.count }
    }

    static let maximumContextMessages = 256
    static let maximumStops = 4
    static let maximumStopBytes = 256
    static let maxTokensBounds = 1...131_072
    static let temperatureBounds = 0.0...2
    /// The engine takes it as a Float, in which what is much less is nothing.
    static let topPBounds = 1e-45...1

    /// Reads and checks a body.
    /// - Throws: `APIError` 400 that names the first field at fault.
    init(body: Data, unknownFields: UnknownFields = .refuse) throws(APIError) {
        let members: JSONMembers
        do throws(JSONMembers.Failure) { members = try JSONMembers(body) } catch { throw .unreadable(error) }
        let unknown = TurnRequest.unknown(members)
        if unknownFields == .refuse, let field = unknown.first { throw TurnRequest.refusal(of: field) }
        do {
            self = try JSONDecoder().decode(TurnRequest.self, from: members.text)
        } catch let error as DecodingError {
            throw .malformed(error)
        } catch {
            throw .invalid("body", "is not JSON")
        }
        ignored = unknown
        try check()
    }

    private func check() throws(APIError) {
        guard !message.isEmpty else { throw .invalid("message", "is empty") }
        let name = userID.text
        guard (1...UserKey.maximumNameBytes).contains(name.utf8.count) else {
            throw .invalid("user_id", "must have 1 to \(UserKey.maximumNameBytes) bytes")
        }
        guard !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw .invalid("user_id", "must not hold control characters")
        }
        if let conversationID, ConversationID(conversationID) == nil {
            throw .notAllowed(.conversationID)
        }
        if let maxTokens, !TurnRequest.maxTokensBounds.contains(maxTokens) { throw .notAllowed(.maxTokens) }
        if let temperature, !TurnRequest.temperatureBounds.contains(temperature) { throw .notAllowed(.temperature) }
        if let topP, !TurnRequest.topPBounds.contains(topP) { throw .notAllowed(.topP) }
        if let context, context.count > TurnRequest.maximumContextMessages {
            throw .invalid("context", "may hold \(TurnRequest.maximumContextMessages) messages at most")
        }
        if let stop {
            guard stop.texts.count <= TurnRequest.maximumStops else {
                throw .invalid("stop", "may hold \(TurnRequest.maximumStops) strings at most")
            }
            guard stop.texts.allSatisfy({ (1...TurnRequest.maximumStopBytes).contains($0.utf8.count) }) else {
                throw .invalid("stop", "holds a string that does not have 1 to \(TurnRequest.maximumStopBytes) bytes")
            }
        }
    }
}

extension APIError {
    fileprivate static func malformed(_ error: DecodingError) -> APIError {
        switch error {
        case .keyNotFound(let key, let context): .invalid(path(context.codingPath + [key]), "is missing")
        case .valueNotFound(_, let context): .invalid(path(context.codingPath), "is null")
        case .typeMismatch(_, let context), .dataCorrupted(let context):
            if let allowed = TurnRequest.allowed(at: context.codingPath) {
                .invalid(path(context.codingPath), allowed)
            } else {
                .invalid("body", "is not valid JSON")
            }
        @unknown default: .invalid("body", "is not valid JSON")
        }
    }

    /// A value of the type that its field has, beyond its bounds.
    fileprivate static func notAllowed(_ field: TurnRequest.CodingKeys) -> APIError {
        .invalid(field.stringValue, TurnRequest.allowed(field))
    }

    fileprivate static func unreadable(_ failure: JSONMembers.Failure) -> APIError {
        switch failure {
        case .noObject: .invalid("body", "is not a JSON object")
        case .tooDeep: .invalid("body", "is nested more than \(JSONMembers.maximumDepth) levels deep")
        case .tooManyMembers: .invalid("body", "has an object with more than \(JSONMembers.maximumMembers) fields")
        }
    }

    /// `context[0].role`; the body itself when there is no field.
    private static func path(_ keys: [any CodingKey]) -> String {
        let text = keys.reduce(into: "") { text, key in
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += (text.isEmpty ? "" : ".") + key.stringValue
            }
        }
        return text.isEmpty ? "body" : text
    }
}
