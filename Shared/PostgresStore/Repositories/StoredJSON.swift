import Foundation

/// Small records in `jsonb` columns, whose fields nobody searches by. They travel as text both ways: cast in the
/// statement.
enum StoredJSON {
    /// - Parameter column: for the error; texts in `value` must not hold U+0000, which `jsonb` refuses.
    static func encode(_ value: (some Encodable)?, column: String) throws(DatabaseError) -> String? {
        guard let value else { return nil }
        do {
            return String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
        } catch {
            throw .decoding(column: column, reason: "cannot be written as JSON")
        }
    }

    static func decode<Value: Decodable>(
        _ type: Value.Type, _ text: String?, column: String
    ) throws(DatabaseError) -> Value? {
        guard let text else { return nil }
        do {
            return try JSONDecoder().decode(type, from: Data(text.utf8))
        } catch {
            throw .decoding(column: column, reason: "is not of this form")
        }
    }
}
