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
    /// - Parameter place: where its bytes are counted, those that it is unpacked to among them.
    /// - Throws: `APIError` 408, 413, 415, 417, 503 without room, or 400 for a body that ends too early or is malformed; `WorkPool.Full`.
    func read(_ request: Request, on connection: ClientConnection, into place: BodyRoom.Place) async throws
        -> ByteBuffer
    {
        let coding = try ContentCoding(request.headers)
        // What no Int holds is too large as well.
        if let length = request.headers[.contentLength], Int(length) ?? .max > maximumBytes { throw tooLarge }
        try allow(request, on: connection)
        do {
            let body = try await collect(request.body, into: place)
            guard let coding else { return body }
            let unpacked = try await unpack(body, coding)
            try place.take(unpacked.readableBytes)
            return unpacked
        } catch let error as APIError {
            throw error
        } catch Inflater.Failure.tooLarge {
            throw tooLarge
        } catch Inflater.Failure.malformed {
            throw APIError.invalid("body", "is not what Content-Encoding says")
        } catch let error as WorkPool.Full {
            throw error
        } catch {
            // Cut off halfway, or chunks that are none: the connection's fault or the client's, and no news for the log.
            if Task.isCancelled { throw CancellationError() }
            throw APIError.invalid("body", "ended too early or is malformed")
        }
    }

    private func allow(_ request: Request, on connection: ClientConnection) throws {
        guard let expectation = request.headers[.expect] else { return }
        guard expectation.lowercased() == "100-continue" else { throw APIError.unknownExpectation }
        try connection.sendAtOnce([.head(HTTPResponse(status: .continue))])
    }

    private func collect(_ body: RequestBody, into place: BodyRoom.Place) async throws -> ByteBuffer {
        var whole = ByteBuffer()
        for try await part in body {
            guard part.readableBytes <= maximumBytes - whole.readableBytes else { throw tooLarge }
            try place.take(part.readableBytes)
            if whole.readableBytes == 0 { whole = part } else { whole.writeImmutableBuffer(part) }
        }
        return whole
    }

    private func unpack(_ packed: ByteBuffer, _ coding: ContentCoding) async throws -> ByteBuffer {
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
