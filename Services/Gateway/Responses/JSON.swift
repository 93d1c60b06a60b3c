import Hummingbird
import ServiceKit

/// A JSON value whose members keep their order, as people read it.
indirect enum JSON: Sendable {
    case string(String)
    case integer(Int64)
    case number(Double)
    case bool(Bool)
    case null
    case array([JSON])
    case object([(String, JSON)])

    func write(to text: inout String) {
        switch self {
        case .string(let value): JSONText.append(value, to: &text)
        case .integer(let value): text += "\(value)"
        case .number(let value): text += value.isFinite ? "\(value)" : "null"
        case .bool(let value): text += value ? "true" : "false"
        case .null: text += "null"
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += "," }
                value.write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { text += "," }
                JSONText.append(member.0, to: &text)
                text += ":"
                member.1.write(to: &text)
            }
            text += "}"
        }
    }

    static let mediaType = "application/json; charset=utf-8"

    var text: String {
        var text = ""
        write(to: &text)
        return text
    }
}

extension Response {
    init(status: HTTPResponse.Status = .ok, json: JSON, headers: HTTPFields = [:]) {
        self.init(status: status, json: json.text, headers: headers)
    }

    /// - Parameter json: as it is written.
    init(status: HTTPResponse.Status = .ok, json: String, headers: HTTPFields = [:]) {
        var headers = headers
        headers[.contentType] = JSON.mediaType
        headers[.cacheControl] = "no-store"
        self.init(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(string: json + "\n")))
    }
}
