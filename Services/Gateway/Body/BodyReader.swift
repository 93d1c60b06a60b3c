import HTTPTypes
import Hummingbird
import NIOCore

/// Reads a request's body whole, within a bound that counts for it as it is sent and as it is unpacked.
struct BodyReader: Sendable {
    let maximumBytes: Int

    /// Once the request's key is known: a client that waits for leave to send the body gets it here.
    /// - Throws: `APIError` 413, 415, 417, or 400 for a body that ends too early or is malformed.
    func read(_ request: Request, on connection: ClientConnection) async throws -> ByteBuffer {
        let coding = try ContentCoding(request.headers)
        // What no Int holds is too large as well.
        if let length = request.headers[.contentLength], Int(length) ?? .max > maximumBytes { throw tooLarge }
        try allow(request, on: connection)
        do {
            guard let coding else { return try await request.body.collect(upTo: maximumBytes) }
            return try await unpacked(request.body, coding)
        } catch is NIOTooManyBytesError {
            throw tooLarge
        } catch Inflater.Failure.tooLarge {
            throw tooLarge
        } catch Inflater.Failure.malformed {
            throw APIError.invalid("body", "is not what Content-Encoding says")
        } catch  where !Task.isCancelled {
            // Cut off halfway, or chunks that are none: the connection's fault or the client's, and no news for the log.
            throw APIError.invalid("body", "ended too early or is malformed")
        }
    }

    private func allow(_ request: Request, on connection: ClientConnection) throws {
        guard let expectation = request.headers[.expect] else { return }
        guard expectation.lowercased() == "100-continue" else { throw APIError.unknownExpectation }
        try connection.sendAtOnce([.head(HTTPResponse(status: .continue))])
    }

    private func unpacked(_ body: RequestBody, _ coding: ContentCoding) async throws -> ByteBuffer {
        let inflater = try Inflater(coding, limit: maximumBytes)
        var (output, sent) = (ByteBuffer(), 0)
        for try await bytes in body {
            sent += bytes.readableBytes
            guard sent <= maximumBytes else { throw Inflater.Failure.tooLarge }
            try inflater.append(bytes, to: &output)
        }
        guard inflater.isWhole else { throw Inflater.Failure.malformed }
        return output
    }

    private var tooLarge: APIError {
        APIError(
            status: .contentTooLarge, code: "too_large", message: "the body has more than \(maximumBytes) bytes")
    }
}
