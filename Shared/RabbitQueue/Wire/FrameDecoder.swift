import CRabbitMQ

/// Cuts the broker's bytes into frames with librabbitmq, which checks every length against the frame it is in.
final class FrameDecoder {
    /// librabbitmq's connection used as a decoder only: it never gets a socket.
    private let state: amqp_connection_state_t

    init() throws(RabbitError) {
        guard let state = amqp_new_connection() else { throw .overloaded }
        self.state = state
    }

    deinit { amqp_destroy_connection(state) }

    /// The largest frame that is accepted from now on; a longer one is an error. Until then it is 64 KiB.
    ///
    /// To be called between two frames, after the first: the library ends the process when it is told in the middle of
    /// one, so a broker that goes on talking before it may is refused here.
    func limitFrames(to bytes: Int) throws(RabbitError) {
        guard amqp_release_buffers_ok(state) != 0 else { throw .protocolViolation("frame before connection.tune-ok") }
        guard amqp_tune_connection(state, 1, Int32(bytes), 0) == AMQP_STATUS_OK.rawValue else {
            throw .protocolViolation("frame size \(bytes)")
        }
    }

    /// Calls `body` for each frame that ends in `input`; a frame that does not is kept for the next call.
    func decode(
        _ input: UnsafeRawBufferPointer, body: (IncomingFrame) throws(RabbitError) -> Void
    ) throws(RabbitError) {
        var rest = input
        while !rest.isEmpty {
            var frame = amqp_frame_t()
            // The library takes a pointer to mutable bytes and only reads them.
            let bytes = amqp_bytes_t(len: rest.count, bytes: UnsafeMutableRawPointer(mutating: rest.baseAddress))
            let taken = amqp_handle_input(state, bytes, &frame)
            guard taken > 0, Int(taken) <= rest.count else {
                throw .protocolViolation(taken < 0 ? String(cString: amqp_error_string2(taken)) : "no progress")
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[Int(taken)...])
            if frame.frame_type != 0 { try body(Self.translate(frame)) }
            // Everything was copied out of the library's memory; it may use that for the next frame.
            amqp_maybe_release_buffers(state)
        }
    }

    private static func translate(_ frame: amqp_frame_t) throws(RabbitError) -> IncomingFrame {
        switch Int32(frame.frame_type) {
        case AMQP_FRAME_METHOD:
            return .method(try translate(frame.payload.method), channel: frame.channel)
        case AMQP_FRAME_HEADER:
            let properties = frame.payload.properties
            guard properties.class_id == UInt16(AMQP_BASIC_CLASS), let decoded = properties.decoded else {
                throw .protocolViolation("content of class \(properties.class_id)")
            }
            let basic = decoded.assumingMemoryBound(to: amqp_basic_properties_t.self).pointee
            var header = ContentHeader(bodySize: properties.body_size)
            let flags = Int32(bitPattern: basic._flags)
            if flags & AMQP_BASIC_MESSAGE_ID_FLAG != 0 { header.messageID = text(basic.message_id) }
            if flags & AMQP_BASIC_EXPIRATION_FLAG != 0 {
                header.expiration = Duration(expirationText: text(basic.expiration))
            }
            if flags & AMQP_BASIC_HEADERS_FLAG != 0 {
                header.headers = scalars(of: basic.headers)
                header.death = newestDeath(in: basic.headers)
            }
            return .header(header, channel: frame.channel)
        case AMQP_FRAME_BODY:
            let fragment = frame.payload.body_fragment
            return .body(
                Array(UnsafeRawBufferPointer(start: fragment.bytes, count: fragment.len)), channel: frame.channel)
        case AMQP_FRAME_HEARTBEAT:
            return .heartbeat
        default:
            // The library's own mark for a protocol header: the broker speaks another version.
            throw .protocolViolation("another protocol or version of it")
        }
    }

    private static func translate(_ method: amqp_method_t) throws(RabbitError) -> IncomingMethod {
        guard let decoded = method.decoded else { throw .protocolViolation("empty method") }
        func fields<T>(_: T.Type) -> T { decoded.assumingMemoryBound(to: T.self).pointee }
        switch method.id {
        case AMQP_CONNECTION_START_METHOD:
            let start = fields(amqp_connection_start_t.self)
            return .connectionStart(
                mechanisms: text(start.mechanisms), version: scalars(of: start.server_properties)["version"])
        case AMQP_CONNECTION_TUNE_METHOD:
            return .connectionTune(frameMaximum: Int(fields(amqp_connection_tune_t.self).frame_max))
        case AMQP_CONNECTION_OPEN_OK_METHOD: return .connectionOpenOk
        case AMQP_CONNECTION_CLOSE_METHOD:
            let close = fields(amqp_connection_close_t.self)
            return .connectionClose(code: Int(close.reply_code), text: text(close.reply_text))
        case AMQP_CONNECTION_CLOSE_OK_METHOD: return .connectionCloseOk
        case AMQP_CONNECTION_BLOCKED_METHOD:
            return .connectionBlocked(reason: text(fields(amqp_connection_blocked_t.self).reason))
        case AMQP_CONNECTION_UNBLOCKED_METHOD: return .connectionUnblocked
        case AMQP_CHANNEL_OPEN_OK_METHOD: return .channelOpenOk
        case AMQP_CHANNEL_FLOW_METHOD: return .channelFlow(active: fields(amqp_channel_flow_t.self).active != 0)
        case AMQP_CHANNEL_CLOSE_METHOD:
            let close = fields(amqp_channel_close_t.self)
            return .channelClose(code: Int(close.reply_code), text: text(close.reply_text))
        case AMQP_CHANNEL_CLOSE_OK_METHOD: return .channelCloseOk
        case AMQP_QUEUE_DECLARE_OK_METHOD:
            let declared = fields(amqp_queue_declare_ok_t.self)
            return .queueDeclareOk(messages: Int(declared.message_count), consumers: Int(declared.consumer_count))
        case AMQP_QUEUE_DELETE_OK_METHOD: return .queueDeleteOk
        case AMQP_CONFIRM_SELECT_OK_METHOD: return .confirmSelectOk
        case AMQP_BASIC_QOS_OK_METHOD: return .basicQosOk
        case AMQP_BASIC_CONSUME_OK_METHOD: return .basicConsumeOk
        case AMQP_BASIC_CANCEL_METHOD:
            return .basicCancel(consumerTag: text(fields(amqp_basic_cancel_t.self).consumer_tag))
        case AMQP_BASIC_CANCEL_OK_METHOD: return .basicCancelOk
        case AMQP_BASIC_DELIVER_METHOD:
            let deliver = fields(amqp_basic_deliver_t.self)
            return .basicDeliver(
                consumerTag: text(deliver.consumer_tag), deliveryTag: deliver.delivery_tag,
                redelivered: deliver.redelivered != 0)
        case AMQP_BASIC_RETURN_METHOD:
            let returned = fields(amqp_basic_return_t.self)
            return .basicReturn(code: Int(returned.reply_code), routingKey: text(returned.routing_key))
        case AMQP_BASIC_ACK_METHOD:
            let ack = fields(amqp_basic_ack_t.self)
            return .basicAck(deliveryTag: ack.delivery_tag, multiple: ack.multiple != 0)
        case AMQP_BASIC_NACK_METHOD:
            let nack = fields(amqp_basic_nack_t.self)
            return .basicNack(deliveryTag: nack.delivery_tag, multiple: nack.multiple != 0)
        default:
            return .other(name: amqp_method_name(method.id).map { String(cString: $0) } ?? String(method.id))
        }
    }

    /// Bytes that are no UTF-8 are repaired, not refused: names and texts of others must not end a connection.
    private static func text(_ bytes: amqp_bytes_t) -> String {
        String(decoding: UnsafeRawBufferPointer(start: bytes.bytes, count: bytes.len), as: UTF8.self)
    }

    /// `x-death` is an array of tables, one for each queue and reason, the newest first.
    private static func newestDeath(in table: amqp_table_t) -> Death? {
        let entries = UnsafeBufferPointer(start: table.entries, count: Int(table.num_entries))
        guard let value = entries.first(where: { text($0.key) == "x-death" })?.value,
            amqp_field_value_kind_t(UInt32(value.kind)) == AMQP_FIELD_KIND_ARRAY,
            let newest = UnsafeBufferPointer(
                start: value.value.array.entries, count: Int(value.value.array.num_entries)
            )
            .first,
            amqp_field_value_kind_t(UInt32(newest.kind)) == AMQP_FIELD_KIND_TABLE
        else { return nil }
        let fields = scalars(of: newest.value.table)
        guard let queue = fields["queue"], let reason = fields["reason"] else { return nil }
        return Death(queue: queue, reason: reason)
    }

    /// The table's strings, numbers and flags as text.
    private static func scalars(of table: amqp_table_t) -> [String: String] {
        var result: [String: String] = [:]
        for entry in UnsafeBufferPointer(start: table.entries, count: Int(table.num_entries)) {
            let value = entry.value.value
            let scalar: String? =
                switch amqp_field_value_kind_t(UInt32(entry.value.kind)) {
                case AMQP_FIELD_KIND_UTF8, AMQP_FIELD_KIND_BYTES: text(value.bytes)
                case AMQP_FIELD_KIND_BOOLEAN: value.boolean != 0 ? "true" : "false"
                case AMQP_FIELD_KIND_I8: String(value.i8)
                case AMQP_FIELD_KIND_U8: String(value.u8)
                case AMQP_FIELD_KIND_I16: String(value.i16)
                case AMQP_FIELD_KIND_U16: String(value.u16)
                case AMQP_FIELD_KIND_I32: String(value.i32)
                case AMQP_FIELD_KIND_U32: String(value.u32)
                case AMQP_FIELD_KIND_I64: String(value.i64)
                case AMQP_FIELD_KIND_U64, AMQP_FIELD_KIND_TIMESTAMP: String(value.u64)
                default: nil
                }
            if let scalar { result[text(entry.key)] = scalar }
        }
        return result
    }
}
