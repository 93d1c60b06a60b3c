import CRabbitMQ
import Foundation
import Synchronization
import TestServers

@testable import RabbitQueue

/// A peer that greets as a RabbitMQ of some version, answers what a client needs to become connected, and remembers the
/// arguments of the queues that were declared. Serves one connection after another on a port of 127.0.0.1.
final class ScriptedBroker: Sendable {
    var port: Int { listener.port }
    private let listener: LoopbackListener
    private let state = Declared()

    private final class Declared: Sendable {
        private let queues = Mutex<[String: [String: String]]>([:])
        func add(_ queue: String, _ arguments: [String: String]) { queues.withLock { $0[queue] = arguments } }
        var all: [String: [String: String]] { queues.withLock { $0 } }
    }

    /// The arguments that are numbers, flags or text, as text, for each declared queue.
    var declared: [String: [String: String]] { state.all }

    init?(version: String) {
        guard let listener = LoopbackListener() else { return nil }
        self.listener = listener
        listener.begin { [state] accepted in
            Self.serve(accepted, version, state)
            Foundation.close(accepted)
        }
    }

    func close() {
        listener.close()
    }

    private static func serve(_ client: Int32, _ version: String, _ state: Declared) {
        guard let decoder = amqp_new_connection() else { return }
        defer { amqp_destroy_connection(decoder) }
        let pool = WirePool()
        var header = [UInt8](repeating: 0, count: 8)
        guard recv(client, &header, 8, Int32(MSG_WAITALL)) == 8 else { return }
        var start = amqp_connection_start_t()
        (start.version_major, start.version_minor) = (0, 9)
        start.server_properties = pool.table([("product", pool.value("RabbitMQ")), ("version", pool.value(version))])
        start.mechanisms = pool.bytes("PLAIN")
        start.locales = pool.bytes("en_US")
        answer(client, AMQP_CONNECTION_START_METHOD, &start, channel: 0)
        var received = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(client, &received, received.count, 0)
            guard count > 0 else { return }
            received.withUnsafeMutableBytes { bytes in
                var rest = amqp_bytes_t(len: count, bytes: bytes.baseAddress)
                while rest.len > 0 {
                    var frame = amqp_frame_t()
                    let taken = amqp_handle_input(decoder, rest, &frame)
                    guard taken > 0 else { return }
                    rest = amqp_bytes_t(len: rest.len - Int(taken), bytes: rest.bytes + Int(taken))
                    if Int32(frame.frame_type) == AMQP_FRAME_METHOD { reply(client, frame, state) }
                }
            }
        }
    }

    private static func reply(_ client: Int32, _ frame: amqp_frame_t, _ state: Declared) {
        switch frame.payload.method.id {
        case AMQP_CONNECTION_START_OK_METHOD:
            var tune = amqp_connection_tune_t(channel_max: 16, frame_max: 131_072, heartbeat: 60)
            answer(client, AMQP_CONNECTION_TUNE_METHOD, &tune, channel: 0)
        case AMQP_CONNECTION_OPEN_METHOD:
            var open = amqp_connection_open_ok_t()
            answer(client, AMQP_CONNECTION_OPEN_OK_METHOD, &open, channel: 0)
        case AMQP_CHANNEL_OPEN_METHOD:
            var open = amqp_channel_open_ok_t()
            answer(client, AMQP_CHANNEL_OPEN_OK_METHOD, &open, channel: 1)
        case AMQP_QUEUE_DECLARE_METHOD:
            guard let decoded = frame.payload.method.decoded else { return }
            let declare = decoded.assumingMemoryBound(to: amqp_queue_declare_t.self).pointee
            let name = text(declare.queue)
            let entries = UnsafeBufferPointer(
                start: declare.arguments.entries, count: Int(declare.arguments.num_entries))
            state.add(
                name,
                Dictionary(
                    entries.map { entry in
                        let value = entry.value.value
                        return switch amqp_field_value_kind_t(UInt32(entry.value.kind)) {
                        case AMQP_FIELD_KIND_I64: (text(entry.key), String(value.i64))
                        case AMQP_FIELD_KIND_BOOLEAN: (text(entry.key), value.boolean != 0 ? "true" : "false")
                        default: (text(entry.key), text(value.bytes))
                        }
                    }, uniquingKeysWith: { _, last in last }))
            var declared = amqp_queue_declare_ok_t()
            declared.queue = declare.queue
            answer(client, AMQP_QUEUE_DECLARE_OK_METHOD, &declared, channel: 1)
        case AMQP_CONFIRM_SELECT_METHOD:
            var select = amqp_confirm_select_ok_t()
            answer(client, AMQP_CONFIRM_SELECT_OK_METHOD, &select, channel: 1)
        case AMQP_CONNECTION_CLOSE_METHOD:
            var close = amqp_connection_close_ok_t()
            answer(client, AMQP_CONNECTION_CLOSE_OK_METHOD, &close, channel: 0)
        default: break
        }
    }

    private static func text(_ bytes: amqp_bytes_t) -> String {
        String(decoding: UnsafeRawBufferPointer(start: bytes.bytes, count: bytes.len), as: UTF8.self)
    }

    private static func answer<Fields>(
        _ client: Int32, _ id: amqp_method_number_t, _ fields: inout Fields, channel: UInt16
    ) {
        var scratch = [UInt8](repeating: 0, count: 4096)
        let length = scratch.withUnsafeMutableBytes { bytes in
            withUnsafeMutablePointer(to: &fields) {
                amqp_encode_method(id, $0, amqp_bytes_t(len: bytes.count, bytes: bytes.baseAddress))
            }
        }
        guard length >= 0 else { return }
        func bigEndian(_ number: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: number.bigEndian) { Array($0) }
        }
        let payload = bigEndian(id) + scratch[..<Int(length)]
        let frame = [UInt8(AMQP_FRAME_METHOD)] + bigEndian(channel) + bigEndian(UInt32(payload.count)) + payload
        let bytes = frame + [UInt8(AMQP_FRAME_END)]
        _ = bytes.withUnsafeBytes { send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
}
