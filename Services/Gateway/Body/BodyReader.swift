import HTTPTypes
import Hummingbird
import NIOCore
import ServiceKit

/// Reads a request's body whole, within a bound that counts for it as it is sent and as it is unpacked.
struct BodyReader: Sendable {
    let maximumBytes: Int
    var pool = WorkPool.shared

    /// Packed text is about a quarter of what it was.
    private static let usualRatio = 4

    /// Once the request's key is known: a client that waits for leave to send the body gets it here.
    /// - Throws: `APIError` 413, 415, 417, or 400 for a body that ends too early or is malformed; `WorkPool.Full`.
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
        } catch let error as WorkPool.Full {
            throw error
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
        let packed = try await body.collect(upTo: maximumBytes)
        // Never in place: a few bytes may be the packed form of as many as a body may have.
        let bytes = max(packed.readableBytes * BodyReader.usualRatio, WorkPool.inPlaceBytes + 1)
        return try await pool.run(bytes: bytes) { [maximumBytes] _ in
            let inflater = try Inflater(coding, limit: maximumBytes)
            var output = ByteBuffer()
            try inflater.append(packed, to: &output)
            guard inflater.isWhole else { throw Inflater.Failure.malformed }
            return output
        }
    }

    private var tooLarge: APIError {
        APIError(
            status: .contentTooLarge, code: "too_large", message: "the body has more than \(maximumBytes) bytes")
    }
}
