import CRabbitMQ

/// Writes methods and messages as AMQP 0-9-1 frames; librabbitmq encodes the fields.
final class FrameEncoder {
    /// The largest frame, its 8 bytes of frame included, as negotiated with the broker.
    var frameMaximum = Int(AMQP_FRAME_MIN_SIZE)
    private let pool = WirePool()
    /// A method's or header's payload before it is framed.
    private var scratch: [UInt8]

    private static let frameOverhead = 8
    /// Larger than any method we send: names are short strings and headers are bounded.
    private static let scratchSize = OutgoingMessage.maximumHeaderBytes + (8 << 10)

    init() { scratch = [UInt8](repeating: 0, count: Self.scratchSize) }

    static let protocolHeader: [UInt8] = Array("AMQP".utf8) + [0, 0, 9, 1]

    func append(_ method: OutgoingMethod, channel: UInt16, to output: inout [UInt8]) throws(RabbitError) {
        defer { pool.recycle() }
        switch method {
        case .connectionStartOk(let user, let password, let clientName):
            let capabilities = [
                "publisher_confirms", "basic.nack", "consumer_cancel_notify", "connection.blocked",
                "authentication_failure_close",
            ]
            var fields = amqp_connection_start_ok_t()
            fields.client_properties = pool.table([
                ("product", pool.value("Switchboard")), ("connection_name", pool.value(clientName)),
                ("capabilities", pool.value(pool.table(capabilities.map { ($0, pool.value(true)) }))),
            ])
            fields.mechanism = pool.bytes("PLAIN")
            fields.response = pool.bytes("\0\(user)\0\(password.value)")
            fields.locale = pool.bytes("en_US")
            try append(AMQP_CONNECTION_START_OK_METHOD, &fields, channel, &output)
        case .connectionTuneOk(let frameMaximum, let heartbeatSeconds):
            var fields = amqp_connection_tune_ok_t(
                channel_max: 1, frame_max: UInt32(frameMaximum), heartbeat: UInt16(heartbeatSeconds))
            try append(AMQP_CONNECTION_TUNE_OK_METHOD, &fields, channel, &output)
        case .connectionOpen(let virtualHost):
            var fields = amqp_connection_open_t()
            fields.virtual_host = pool.bytes(virtualHost)
            try append(AMQP_CONNECTION_OPEN_METHOD, &fields, channel, &output)
        case .connectionClose(let code, let text):
            var fields = amqp_connection_close_t()
            fields.reply_code = UInt16(code)
            fields.reply_text = pool.bytes(text)
            try append(AMQP_CONNECTION_CLOSE_METHOD, &fields, channel, &output)
        case .connectionCloseOk:
            var fields = amqp_connection_close_ok_t()
            try append(AMQP_CONNECTION_CLOSE_OK_METHOD, &fields, channel, &output)
        case .channelOpen:
            var fields = amqp_channel_open_t()
            try append(AMQP_CHANNEL_OPEN_METHOD, &fields, channel, &output)
        case .channelClose:
            var fields = amqp_channel_close_t()
            fields.reply_code = 200
            try append(AMQP_CHANNEL_CLOSE_METHOD, &fields, channel, &output)
        case .channelFlowOk(let active):
            var fields = amqp_channel_flow_ok_t(active: active ? 1 : 0)
            try append(AMQP_CHANNEL_FLOW_OK_METHOD, &fields, channel, &output)
        case .channelCloseOk:
            var fields = amqp_channel_close_ok_t()
            try append(AMQP_CHANNEL_CLOSE_OK_METHOD, &fields, channel, &output)
        case .queueDeclare(let declaration):
            var fields = amqp_queue_declare_t()
            fields.queue = pool.bytes(declaration.name)
            fields.durable = declaration.durable ? 1 : 0
            fields.exclusive = declaration.exclusive ? 1 : 0
            fields.arguments = pool.table(
                declaration.arguments.map { name, argument in
                    switch argument {
                    case .string(let text): (name, pool.value(text))
                    case .integer(let number): (name, pool.value(number))
                    case .flag(let flag): (name, pool.value(flag))
                    }
                })
            try append(AMQP_QUEUE_DECLARE_METHOD, &fields, channel, &output)
        case .queueDeclarePassive(let name):
            var fields = amqp_queue_declare_t()
            fields.queue = pool.bytes(name)
            fields.passive = 1
            try append(AMQP_QUEUE_DECLARE_METHOD, &fields, channel, &output)
        case .queueDelete(let name):
            var fields = amqp_queue_delete_t()
            fields.queue = pool.bytes(name)
            try append(AMQP_QUEUE_DELETE_METHOD, &fields, channel, &output)
        case .confirmSelect:
            var fields = amqp_confirm_select_t()
            try append(AMQP_CONFIRM_SELECT_METHOD, &fields, channel, &output)
        case .basicQos(let prefetch):
            var fields = amqp_basic_qos_t(prefetch_size: 0, prefetch_count: prefetch, global: 0)
            try append(AMQP_BASIC_QOS_METHOD, &fields, channel, &output)
        case .basicConsume(let queue, let consumerTag):
            var fields = amqp_basic_consume_t()
            fields.queue = pool.bytes(queue)
            fields.consumer_tag = pool.bytes(consumerTag)
            try append(AMQP_BASIC_CONSUME_METHOD, &fields, channel, &output)
        case .basicCancel(let consumerTag):
            var fields = amqp_basic_cancel_t()
            fields.consumer_tag = pool.bytes(consumerTag)
            try append(AMQP_BASIC_CANCEL_METHOD, &fields, channel, &output)
        case .basicAck(let deliveryTag, let multiple):
            var fields = amqp_basic_ack_t(delivery_tag: deliveryTag, multiple: multiple ? 1 : 0)
            try append(AMQP_BASIC_ACK_METHOD, &fields, channel, &output)
        case .basicReject(let deliveryTag, let requeue):
            var fields = amqp_basic_reject_t(delivery_tag: deliveryTag, requeue: requeue ? 1 : 0)
            try append(AMQP_BASIC_REJECT_METHOD, &fields, channel, &output)
        case .basicNack(let deliveryTag, let multiple, let requeue):
            var fields = amqp_basic_nack_t(
                delivery_tag: deliveryTag, multiple: multiple ? 1 : 0, requeue: requeue ? 1 : 0)
            try append(AMQP_BASIC_NACK_METHOD, &fields, channel, &output)
        }
    }

    /// A mandatory publish on the default exchange: the method, its header and its body in frames.
    func append(_ message: OutgoingMessage, channel: UInt16, to output: inout [UInt8]) throws(RabbitError) {
        defer { pool.recycle() }
        var publish = amqp_basic_publish_t()
        publish.routing_key = pool.bytes(message.queue)
        publish.mandatory = 1
        try append(AMQP_BASIC_PUBLISH_METHOD, &publish, channel, &output)

        var properties = amqp_basic_properties_t()
        var flags = AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG
        properties.message_id = pool.bytes(message.id)
        properties.delivery_mode = UInt8(
            (message.durable ? AMQP_DELIVERY_PERSISTENT : AMQP_DELIVERY_NONPERSISTENT).rawValue)
        if !message.headers.isEmpty {
            flags |= AMQP_BASIC_HEADERS_FLAG
            properties.headers = pool.table(message.headers.map { ($0, pool.value($1)) })
        }
        if let priority = message.priority {
            flags |= AMQP_BASIC_PRIORITY_FLAG
            properties.priority = priority
        }
        if let expiration = message.expiration {
            flags |= AMQP_BASIC_EXPIRATION_FLAG
            properties.expiration = pool.bytes(String(expiration.milliseconds))
        }
        properties._flags = amqp_flags_t(flags)
        let length = scratch.withUnsafeMutableBytes { bytes in
            amqp_encode_properties(
                UInt16(AMQP_BASIC_CLASS), &properties, amqp_bytes_t(len: bytes.count, bytes: bytes.baseAddress))
        }
        guard length >= 0 else { throw .invalid(field: "headers", reason: "cannot be encoded") }
        let prefix = bigEndian(UInt16(AMQP_BASIC_CLASS)) + bigEndian(UInt16(0)) + bigEndian(UInt64(message.body.count))
        let header = prefix + scratch[..<Int(length)]
        guard header.count + Self.frameOverhead <= frameMaximum else {
            throw .invalid(field: "headers", reason: "larger than a frame of \(frameMaximum) bytes")
        }
        frame(AMQP_FRAME_HEADER, channel, header[...], &output)

        let step = frameMaximum - Self.frameOverhead
        for start in stride(from: 0, to: message.body.count, by: step) {
            frame(AMQP_FRAME_BODY, channel, message.body[start..<min(start + step, message.body.count)], &output)
        }
    }

    func appendHeartbeat(to output: inout [UInt8]) {
        frame(AMQP_FRAME_HEARTBEAT, 0, [], &output)
    }

    private func append<Fields>(
        _ id: amqp_method_number_t, _ fields: inout Fields, _ channel: UInt16, _ output: inout [UInt8]
    ) throws(RabbitError) {
        let length = scratch.withUnsafeMutableBytes { bytes in
            withUnsafeMutablePointer(to: &fields) { decoded in
                amqp_encode_method(
                    id, UnsafeMutableRawPointer(decoded), amqp_bytes_t(len: bytes.count, bytes: bytes.baseAddress))
            }
        }
        guard length >= 0 else { throw .invalid(field: "method", reason: "cannot be encoded") }
        let payload = bigEndian(id) + scratch[..<Int(length)]
        frame(AMQP_FRAME_METHOD, channel, payload[...], &output)
    }

    /// type, channel, payload size, payload, frame-end octet.
    private func frame(_ type: Int32, _ channel: UInt16, _ payload: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        output.append(UInt8(type))
        output += bigEndian(channel)
        output += bigEndian(UInt32(payload.count))
        output += payload
        output.append(UInt8(AMQP_FRAME_END))
    }

    private func bigEndian(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }
}
