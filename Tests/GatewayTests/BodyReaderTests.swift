import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import ServiceKit
import Testing

@testable import gateway

/// How a request's body is read: asked for, unpacked, bounded.
@Suite struct BodyReaderTests {
    private static let plain = #"{"message":"Hi","user_id":"a"}"#
    private static let gzip = "H4sIAAAAAAACA6tWyk0tLk5MT1WyUvLIVNJRKi1OLYrPTAFyE5VqAXBOM+IeAAAA"
    private static let inTwoMembers =
        "H4sIAAAAAAACA6tWyk0tLk5MT1UCAKEcaOMKAAAAH4sIAAAAAAACA7NS8shU0lEqLU4tis9MUbJSSlSqBQBC77tvFAAAAA=="
    private static let deflate = "eJyrVspNLS5OTE9VslLyyFTSUSotTi2Kz0wBchOVagGZKwmL"
    private static let raw = "q1bKTS0uTkxPVbJS8shU0lEqLU4tis9MAXITlWoB"
    /// Three mebibytes of one letter.
    private static let bomb = """
        H4sIAAAAAAACA+3BAQ0AAADCoKzvX8IcbkABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB8
        G+1haZkAADAA
        """.replacing("\n", with: "")

    /// - Parameter room: where bodies count, by the key that X-API-Key names.
    private func router(room: BodyRoom = BodyRoom(maximumBytes: 8 << 20)) -> Router<GatewayRequestContext> {
        let router = Router(context: GatewayRequestContext.self)
        router.add(middleware: ErrorMiddleware())
        router.post("/echo") { request, context in
            let key = HTTPField.Name("X-API-Key").flatMap { request.headers[$0] } ?? ""
            return try await room.withPlace(of: key) { place in
                String(
                    buffer: try await BodyReader(maximumBytes: 1 << 20).read(
                        request, on: context.connection, into: place))
            }
        }
        return router
    }

    @Test func bodiesThatNeverEndFillTheirKeysRoomOnly() async throws {
        let room = BodyRoom(maximumBytes: 800_000)
        try await LiveServer.run(router(room: room)) { port, _ in
            let part = head("X-API-Key: a", "Content-Length: 200000") + String(repeating: "x", count: 190_000)
            var clients: [any Channel] = []
            for number in 1...2 {
                let client = try await LiveServer.deafClient(port)
                client.writeAndFlush(ByteBuffer(string: part), promise: nil)
                clients.append(client)
                try await LiveServer.eventually { room.heldBytes == number * 190_000 }
            }
            func answer(_ key: String, bytes: Int) async throws -> String {
                var request = ByteBuffer(string: head("X-API-Key: \(key)", "Content-Length: \(bytes)"))
                request.writeString(String(repeating: "x", count: bytes))
                let whole = request
                return try await LiveServer.exchange(port, whole)
            }
            let refused = try await answer("a", bytes: 30_000)
            #expect(refused.hasPrefix("HTTP/1.1 503") && refused.lowercased().contains("retry-after: 2"), "\(refused)")
            // A small one still fits, and another key has as much room of its own.
            #expect(try await answer("a", bytes: 100).hasPrefix("HTTP/1.1 200"))
            #expect(try await answer("b", bytes: 390_000).hasPrefix("HTTP/1.1 200"))
            #expect(room.heldBytes == 380_000)
            for client in clients { try await client.close() }
            try await LiveServer.eventually { room.heldBytes == 0 }
            #expect(try await answer("a", bytes: 390_000).hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func whatBodiesHoldAndWhatFoundNoRoomIsShown() async throws {
        let registry = MetricRegistry()
        let room = BodyRoom(maximumBytes: 200)
        room.show(in: registry)
        func shown(_ bytes: Int, _ refusals: Int) -> Bool {
            let lines = Set(registry.prometheusText().split(separator: "\n").map(String.init))
            return lines.isSuperset(of: [
                "switchboard_request_body_bytes \(bytes)", "switchboard_request_bodies_refused_total \(refusals)",
            ])
        }
        #expect(shown(0, 0))
        try await room.withPlace(of: "a") { place in
            try place.take(90)
            #expect(shown(90, 0))
            #expect(throws: APIError.tooManyBodies) { try place.take(11) }
            #expect(shown(90, 1))
        }
        #expect(shown(0, 1))
    }

    /// A few bytes that become a megabyte count as a megabyte.
    @Test func unpackedBytesTakeRoomToo() async throws {
        let room = BodyRoom(maximumBytes: 100)
        var text = ""
        try await LiveServer.run(router(room: room)) { port, _ in
            var request = ByteBuffer(string: head("Content-Encoding: gzip", "Content-Length: 48"))
            request.writeBytes(try #require(Data(base64Encoded: BodyReaderTests.gzip)))
            let whole = request
            text = try await LiveServer.exchange(port, whole)
        }
        #expect(text.hasPrefix("HTTP/1.1 503"), "\(text)")
        #expect(room.heldBytes == 0)
    }

    private func head(_ fields: String...) -> String {
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    }

    private func send(_ encoded: String, _ coding: String, isChunked: Bool = false) async throws -> String {
        let body = try #require(Data(base64Encoded: encoded))
        var bytes = ByteBuffer()
        if isChunked {
            bytes.writeString(head("Content-Encoding: \(coding)", "Transfer-Encoding: chunked"))
            // A byte at a time.
            for byte in body { bytes.writeBytes(Array("1\r\n".utf8) + [byte] + Array("\r\n".utf8)) }
            bytes.writeString("0\r\n\r\n")
        } else {
            bytes.writeString(head("Content-Encoding: \(coding)", "Content-Length: \(body.count)"))
            bytes.writeBytes(body)
        }
        var text = ""
        let request = bytes
        try await LiveServer.run(router()) { port, _ in text = try await LiveServer.exchange(port, request) }
        return text
    }

    @Test(arguments: [
        (gzip, "gzip"), (gzip, "X-GZip"), (inTwoMembers, "gzip"), (deflate, "deflate"), (deflate, "identity, deflate"),
    ])
    func aPackedBodyIsUnpacked(body: String, coding: String) async throws {
        for isChunked in [false, true] {
            let answer = try await send(body, coding, isChunked: isChunked)
            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix(BodyReaderTests.plain))
        }
    }

    @Test func whatIsUnpackedCountsAsItComes() async throws {
        #expect(try await send(BodyReaderTests.bomb, "gzip").hasPrefix("HTTP/1.1 413"))
    }

    @Test(arguments: [
        (raw, "deflate"), (deflate, "gzip"), (gzip, "deflate"), (String(gzip.prefix(40)), "gzip"), ("", "gzip"),
        (deflate + deflate, "deflate"),
    ])
    func whatIsNotAsItSaysIsRefused(body: String, coding: String) async throws {
        let answer = try await send(body, coding)
        #expect(answer.hasPrefix("HTTP/1.1 400") && answer.contains(#""field":"body""#), "\(answer)")
    }

    @Test(arguments: ["br", "gzip, gzip", "compress", "zstd"])
    func otherCodingsAreRefusedWithThoseThatAreTaken(coding: String) async throws {
        let answer = try await send(BodyReaderTests.gzip, coding)
        #expect(answer.hasPrefix("HTTP/1.1 415"))
        #expect(answer.lowercased().contains("accept-encoding: gzip, deflate\r\n"))
    }

    @Test func whoWaitsForLeaveToSendGetsIt() async throws {
        try await LiveServer.run(router()) { port, _ in
            let answer = try await LiveServer.converse(
                port, head("Content-Length: 5", "Expect: 100-continue"), until: "HTTP/1.1 100 Continue\r\n\r\n",
                then: "hello")
            #expect(answer.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200") && answer.hasSuffix("hello"))
        }
    }

    @Test func whoDoesNotWaitIsAnsweredAllTheSame() async throws {
        try await LiveServer.run(router()) { port, _ in
            let answer = try await LiveServer.exchange(
                port, head("Content-Length: 5", "Expect: 100-continue") + "hello")
            #expect(answer.contains("HTTP/1.1 200") && answer.hasSuffix("hello"))
        }
    }

    @Test func whatIsTooLongIsRefusedBeforeItIsSent() async throws {
        try await LiveServer.run(router()) { port, _ in
            for length in ["1048577", "9999999999", "9223372036854775808"] {
                // Nothing of the body is ever sent.
                let answer = try await LiveServer.exchange(
                    port, head("Content-Length: \(length)", "Expect: 100-continue"))
                #expect(answer.hasPrefix("HTTP/1.1 413") && answer.contains(#""code":"too_large""#))
            }
            let other = try await LiveServer.exchange(port, head("Content-Length: 5", "Expect: a-miracle"))
            #expect(other.hasPrefix("HTTP/1.1 417"))
        }
    }
}
