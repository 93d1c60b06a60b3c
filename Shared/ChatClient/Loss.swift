import AsyncHTTPClient
import Foundation
import NIOCore
import NIOPosix

/// One attempt at one gateway that came to nothing, and may come to something at another.
struct Loss: Error {
    /// In words for people.
    let reason: String
    var retryAfter: Duration?

    init(reason: String, retryAfter: Duration? = nil) {
        self.reason = reason
        self.retryAfter = retryAfter
    }

    init(_ error: any Error) {
        switch error {
        case let loss as Loss: self = loss
        case ChatClientError.malformed(let what): self.init(reason: what)
        case let error as HTTPClientError: self.init(reason: Loss.words(for: error))
        case is NIOConnectionError: self.init(reason: "nobody listens there")
        case let error as IOError: self.init(reason: String(cString: strerror(error.errnoCode)))
        default: self.init(reason: "\(error)")
        }
    }

    private static func words(for error: HTTPClientError) -> String {
        switch error {
        case .readTimeout: "it fell silent"
        case .connectTimeout, .deadlineExceeded: "it does not answer"
        case .remoteConnectionClosed: "it closed the connection"
        default: error.description
        }
    }
}

extension ChatClientError.Refusal {
    init(_ answer: ChatClient.Answer) {
        struct Body: Decodable {
            struct Failure: Decodable {
                let code: String?
                let message: String?
                let field: String?
            }
            let error: Failure
        }
        let failure = (try? JSONDecoder().decode(Body.self, from: Data(answer.body)))?.error
        self.init(
            status: answer.status, code: failure?.code ?? "unknown",
            message: failure?.message ?? "the server answered with status \(answer.status)", field: failure?.field,
            retryAfter: answer.retryAfter.flatMap { UInt32($0) }.map { .seconds(Int64($0)) })
    }
}

extension ChatClientError {
    init(_ answer: ChatClient.Answer) { self = .refused(Refusal(answer)) }
}
