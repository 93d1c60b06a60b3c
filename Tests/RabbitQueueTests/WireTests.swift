import CRabbitMQ
import Foundation
import SeededRandom
import Testing

@testable import RabbitQueue

@Suite struct WireTests {
    private func decode(_ bytes: [UInt8], by step: Int = .max, limit: Int = 4096) throws -> [IncomingFrame] {
        let decoder = try FrameDecoder()
        // The limit is agreed on after the first frames.
        try feed(decoder, firstFrame())
        try decoder.limitFrames(to: limit)
        var frames: [IncomingFrame] = []
        for start in stride(from: 0, to: bytes.count, by: min(step, max(bytes.count, 1))) {
            let end = min(bytes.count, start + min(step, bytes.count))
            try bytes[start..<end].withUnsafeBytes { piece in
                try decoder.decode(piece) { frame throws(RabbitError) in frames.append(frame) }
            }
        }
        return frames
    }

    private let heartbeat: [UInt8] = [8, 0, 0, 0, 0, 0, 0, 0xCE]

    /// A stream begins with a method of channel 0.
    private func firstFrame() throws -> [UInt8] {
        var bytes: [UInt8] = []
        try FrameEncoder().append(.connectionClose(code: 200, text: "first"), channel: 0, to: &bytes)
        return bytes
    }

    private func feed(_ decoder: FrameDecoder, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try decoder.decode($0) { _ throws(RabbitError) in } }
    }

    @Test func aLimitInTheMiddleOfAFrameIsRefused() throws {
        let decoder = try FrameDecoder()
        #expect(throws: RabbitError.self) { try decoder.limitFrames(to: 8192) }
        try feed(decoder, firstFrame() + heartbeat[..<5])
        #expect(throws: RabbitError.self) { try decoder.limitFrames(to: 8192) }
        try feed(decoder, Array(heartbeat[5...]))
        try decoder.limitFrames(to: 8192)
    }

    private func message(body: Int, frameMaximum: Int = 4096) throws -> [UInt8] {
        let encoder = FrameEncoder()
        encoder.frameMaximum = frameMaximum
        var bytes: [UInt8] = []
        try encoder.append(
            OutgoingMessage(
                queue: "q", body: (0..<body).map { UInt8(truncatingIfNeeded: $0) }, id: "id",
                headers: ["tenant": "ä"], priority: 3, expiration: .milliseconds(1500)),
            channel: 1, to: &bytes)
        return bytes
    }

    @Test(arguments: [1, 7, 4096])
    func framesSurviveAnyCuttingOfTheStream(step: Int) throws {
        let frames = try decode(try message(body: 10_000), by: step)
        guard case .method(.other(let name), channel: 1) = frames[0] else { throw RabbitError.unavailable }
        #expect(name == "AMQP_BASIC_PUBLISH_METHOD")
        #expect(
            frames[1]
                == .header(
                    ContentHeader(
                        bodySize: 10_000, messageID: "id", headers: ["tenant": "ä"], expiration: .milliseconds(1500)),
                    channel: 1))
        let body = frames[2...].flatMap { frame -> [UInt8] in
            if case .body(let fragment, _) = frame { fragment } else { [] }
        }
        #expect(body == (0..<10_000).map { UInt8(truncatingIfNeeded: $0) })
        #expect(frames.count == 5)  // 4088 + 4088 + 1824
    }

    @Test func aFrameLongerThanAgreedIsRefused() throws {
        #expect(throws: RabbitError.self) { try decode(try message(body: 10_000, frameMaximum: 8192)) }
    }

    /// A frame as the specification has it: type, channel, length, payload, 0xCE.
    private struct RawFrame {
        var type: UInt8
        var channel: UInt16
        var payload: [UInt8]

        /// The whole frames at the head of a stream.
        static func cut(_ bytes: [UInt8]) -> [RawFrame] {
            var frames: [RawFrame] = [], rest = bytes[...]
            while rest.count >= 8 {
                let head = Array(rest.prefix(7)), length = head[3...].reduce(0) { $0 << 8 | Int($1) }
                guard rest.count >= 8 + length else { break }
                let payload = Array(rest.dropFirst(7).prefix(length))
                frames.append(
                    RawFrame(type: head[0], channel: UInt16(head[1]) << 8 | UInt16(head[2]), payload: payload))
                rest = rest.dropFirst(8 + length)
            }
            return frames
        }
    }

    /// Either is right; what is read must be what the bytes say, and what is refused must be called no AMQP.
    @Test func anythingThatIsNotAMQPIsRefusedOrReadAsItStands() throws {
        var random = SeededGenerator(seed: 7)
        let whole = try message(body: 100)
        var (read, refused) = (0, 0)
        for _ in 0..<3000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            do {
                let frames = try decode(bytes, limit: 4096)
                read += 1
                // Frames of a type that nobody knows are ignored.
                let raw = RawFrame.cut(bytes).filter { [1, 2, 3, 8].contains($0.type) }
                #expect(frames.count == raw.count)
                for (frame, raw) in zip(frames, raw) {
                    switch frame {
                    case .method(_, let channel): #expect(raw.type == 1 && channel == raw.channel)
                    case .header(let header, let channel):
                        #expect(raw.type == 2 && channel == raw.channel)
                        #expect(header.bodySize == raw.payload[4..<12].reduce(0) { $0 << 8 | UInt64($1) })
                        // Bytes that are no UTF-8 are repaired to three each.
                        let texts = header.headers.reduce(header.messageID?.utf8.count ?? 0) {
                            $0 + $1.key.utf8.count + $1.value.utf8.count
                        }
                        #expect(texts <= 3 * raw.payload.count)
                    case .body(let fragment, let channel):
                        #expect(raw.type == 3 && channel == raw.channel && fragment == raw.payload)
                    case .heartbeat: #expect(raw.type == 8)
                    }
                }
            } catch let error as RabbitError {
                refused += 1
                guard case .protocolViolation(let reason) = error, !reason.isEmpty else {
                    Issue.record("refused as \(error)")
                    continue
                }
            }
        }
        #expect(read > 300 && refused > 300, "\(read) read, \(refused) refused")
    }

    /// Tables nested as deep as a frame allows must not run over the thread's stack.
    @Test func deepTablesDoNotOverflowTheStack() async {
        func nested(_ depth: Int) -> [UInt8] {
            var bytes = [1, UInt8(ascii: "x")]
            for level in 1...depth {
                bytes.append(UInt8(ascii: "A"))
                bytes += bigEndian(UInt32(5 * (depth - level)))
            }
            return bytes
        }
        let table = nested(26_000)
        let payload =
            bigEndian(UInt16(60)) + bigEndian(UInt16(0)) + bigEndian(UInt64(0))
            + bigEndian(UInt16(AMQP_BASIC_HEADERS_FLAG)) + bigEndian(UInt32(table.count)) + table
        let frame = [UInt8(2), 0, 1] + bigEndian(UInt32(payload.count)) + payload + [0xCE]
        // On a thread as the executor's, whose stack is smaller than the main one's.
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                _ = try? decode(frame, limit: 256 << 10)
                continuation.resume()
            }
        }
    }

    private func bigEndian(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    @Test func assemblesContents() throws {
        let deliver = IncomingMethod.basicDeliver(consumerTag: "c", deliveryTag: 1, redelivered: false)
        var assembler = ContentAssembler(maximumBodyBytes: 4)
        try assembler.method(deliver)
        #expect(try assembler.header(ContentHeader(bodySize: 0))?.body == [])
        try assembler.method(deliver)
        #expect(try assembler.header(ContentHeader(bodySize: 3)) == nil)
        #expect(try assembler.body([1, 2]) == nil)
        #expect(try assembler.body([3])?.body == [1, 2, 3])
    }

    @Test func throwsAnOversizedBodyAwayAsItComes() throws {
        var assembler = ContentAssembler(maximumBodyBytes: 4)
        try assembler.method(.basicDeliver(consumerTag: "c", deliveryTag: 1, redelivered: false))
        #expect(try assembler.header(ContentHeader(bodySize: 6)) == nil)
        #expect(try assembler.body([1, 2, 3]) == nil)
        let content = try assembler.body([4, 5, 6])
        #expect(content?.isOversized == true && content?.body == [])
    }

    @Test func framesOutOfTurnAreRefused() throws {
        let deliver = IncomingMethod.basicDeliver(consumerTag: "c", deliveryTag: 1, redelivered: false)
        #expect(throws: RabbitError.self) {
            var assembler = ContentAssembler(maximumBodyBytes: 4)
            _ = try assembler.header(ContentHeader(bodySize: 0))
        }
        #expect(throws: RabbitError.self) {
            var assembler = ContentAssembler(maximumBodyBytes: 4)
            _ = try assembler.body([])
        }
        #expect(throws: RabbitError.self) {
            var assembler = ContentAssembler(maximumBodyBytes: 4)
            try assembler.method(deliver)
            try assembler.method(.basicQosOk)
        }
        #expect(throws: RabbitError.self) {
            var assembler = ContentAssembler(maximumBodyBytes: 4)
            try assembler.method(deliver)
            _ = try assembler.header(ContentHeader(bodySize: .max))
            _ = try assembler.header(ContentHeader(bodySize: .max))
        }
        #expect(throws: RabbitError.self) {
            var assembler = ContentAssembler(maximumBodyBytes: 4)
            try assembler.method(deliver)
            _ = try assembler.header(ContentHeader(bodySize: 1))
            _ = try assembler.body([1, 2])
        }
    }
}
