import ChatCore
import Foundation
import ServiceKit

extension TurnRequest {
    /// What a field may be, as the end of a sentence about it.
    static func allowed(_ field: CodingKeys) -> String {
        switch field {
        case .message, .system, .model: "must be a string"
        case .userID: "must be a string or a whole number"
        case .context: "must be a list of objects with role and content"
        case .stream: "must be true or false"
        case .conversationID: "must be a whole number between 1 and \(ConversationID.maximum)"
        case .maxTokens:
            "must be a whole number between \(maxTokensBounds.lowerBound) and \(maxTokensBounds.upperBound)"
        case .temperature: "must be a number between 0 and \(Int(temperatureBounds.upperBound))"
        case .topP: "must be a number between \(topPBounds.lowerBound) and 1"
        case .seed: "must be a whole number between 0 and \(UInt64.max)"
        case .stop: "must be a string or a list of strings"
        }
    }

    /// The same of whatever an error of the decoder is about; nil when that is no field.
    static func allowed(at path: [any CodingKey]) -> String? {
        guard let field = path.first.flatMap({ CodingKeys(stringValue: $0.stringValue) }) else { return nil }
        guard field == .context, path.count > 1 else { return allowed(field) }
        switch path.last.flatMap({ ContextMessage.CodingKeys(stringValue: $0.stringValue) }) {
        case .role: return "must be one of \(Turn.Message.Role.allCases.map(\.rawValue).joined(separator: ", "))"
        case .content: return "must be a string"
        case nil: return "must be an object with role and content"
        }
    }

    /// The fields that a request may have.
    static let fields = CodingKeys.allCases.map(\.stringValue)
    private static let messageFields = ContextMessage.CodingKeys.allCases.map(\.stringValue)

    /// What other APIs call the same.
    private static let otherNames = [
        "max_completion_tokens": "max_tokens", "max_new_tokens": "max_tokens", "n_predict": "max_tokens",
        "messages": "context", "history": "context", "prompt": "message", "input": "message", "user": "user_id",
        "system_prompt": "system", "instructions": "system", "stop_sequences": "stop",
    ]
    /// Bytes of a client's field name that are said back.
    private static let maximumNameBytes = 64
    private static let maximumNames = 16

    /// The fields of a request that nobody here knows, as `context[0].name`; at most sixteen of them.
    static func unknown(_ members: JSONMembers) -> [JSONMembers.Field] {
        var unknown: [JSONMembers.Field] = []
        for field in members.fields where !known(field).contains(field.name) {
            let short = JSONMembers.Field(path: field.path, name: shortened(field.name))
            if !unknown.contains(short) { unknown.append(short) }
            if unknown.count == maximumNames { break }
        }
        return unknown
    }

    private static func known(_ field: JSONMembers.Field) -> [String] {
        // Objects in another list than the context are no fields of ours: their own field is refused.
        field.path.isEmpty
            ? fields : field.path.hasPrefix(CodingKeys.context.stringValue + "[") ? messageFields : [field.name]
    }

    private static func shortened(_ name: String) -> String {
        name.utf8.count <= maximumNameBytes ? name : String(decoding: name.utf8.prefix(maximumNameBytes), as: UTF8.self)
    }

    /// The refusal of a field, with the nearest known one.
    static func refusal(of field: JSONMembers.Field) -> APIError {
        let nearest =
            (field.path.isEmpty ? otherNames[field.name] : nil)
            ?? NearestName.of(field.name, among: known(field), within: max(2, field.name.utf8.count / 4))
        return .invalid(
            field.path + field.name, "is no field of this request\(nearest.map { "; did you mean \($0)?" } ?? "")")
    }

    /// Names for a header: what is not plain in them is percent-encoded.
    static func headerValue(_ fields: [JSONMembers.Field]) -> String {
        fields.map { field in
            (field.path + field.name).utf8.map { byte in
                byte.isASCIIAlphanumeric || "_-.[]".utf8.contains(byte)
                    ? String(UnicodeScalar(byte))
                    : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }.joined()
        }.joined(separator: ", ")
    }
}
