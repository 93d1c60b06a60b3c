import AsyncHTTPClient
import Foundation
import NIOCore
import NIOPosix

/// One attempt at one gateway that came to nothing, and may come to something at another.
public struct Loss: Error, Sendable, Equatable {
    /// In words for people.
    public let reason: String
    /// What the server asked for, if it did.
    public var retryAfter: Duration?
    /// The server said something that is not the protocol.
    public let isMalformed: Bool

    public init(reason: String, retryAfter: Duration? = nil, isMalformed: Bool = false) {
        self.reason = reason
        self.retryAfter = retryAfter
        self.isMalformed = isMalformed
    }

    public init(_ error: any Error) {
        switch error {
        case let loss as Loss: self = loss
        case ChatClientError.malformed(let what): self.init(reason: what, isMalformed: true)
        case let error as HTTPClientError: self.init(reason: Loss.words(for: error))
        case is NIOConnectionError: self.init(reason: "nobody listens there")
        case ChannelError.connectTimeout: self.init(reason: "it does not answer")
        case let error as IOError where error.errnoCode == ECONNREFUSED: self.init(reason: "nobody listens there")
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
        self.init(status: answer.status, body: answer.body, retryAfter: answer.retryAfter)
    }

    /// - Parameter retryAfter: the header Retry-After, when there was one.
    public init(status: Int, body: [UInt8], retryAfter: String?) {
        struct Body: Decodable {
            struct Failure: Decodable {
                let code: String?
                let message: String?
                let field: String?
            }
            let error: Failure
        }
        let failure = (try? JSONDecoder().decode(Body.self, from: Data(body)))?.error
        self.init(
            status: status, code: failure?.code ?? "unknown",
            message: failure?.message ?? "the server answered with status \(status)", field: failure?.field,
            retryAfter: retryAfter.flatMap { UInt32($0) }.map { .seconds(Int64($0)) })
    }
}

extension ChatClientError {
    init(_ answer: ChatClient.Answer) { self = .refused(Refusal(answer)) }
}
