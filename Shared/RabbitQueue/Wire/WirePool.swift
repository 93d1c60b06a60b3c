import CRabbitMQ

/// Memory for the strings and tables that librabbitmq's encoder points to, given back all at once.
final class WirePool {
    private var pool = amqp_pool_t()

    init() { init_amqp_pool(&pool, 4096) }
    deinit { empty_amqp_pool(&pool) }

    /// Whatever was made before is invalid after this.
    func recycle() { recycle_amqp_pool(&pool) }

    func bytes(_ text: String) -> amqp_bytes_t {
        var text = text
        return text.withUTF8 { utf8 in
            var copy = amqp_bytes_t()
            amqp_pool_alloc_bytes(&pool, utf8.count, &copy)
            // No memory: an empty string is encoded, which the broker refuses by name.
            guard let target = copy.bytes, let source = utf8.baseAddress else { return amqp_bytes_t() }
            target.copyMemory(from: source, byteCount: utf8.count)
            return copy
        }
    }

    func table(_ fields: [(String, amqp_field_value_t)]) -> amqp_table_t {
        guard !fields.isEmpty,
            let memory = amqp_pool_alloc(&pool, fields.count * MemoryLayout<amqp_table_entry_t>.stride)
        else { return amqp_table_t() }
        let entries = memory.bindMemory(to: amqp_table_entry_t.self, capacity: fields.count)
        for (index, field) in fields.enumerated() {
            (entries + index).initialize(to: amqp_table_entry_t(key: bytes(field.0), value: field.1))
        }
        return amqp_table_t(num_entries: Int32(fields.count), entries: entries)
    }

    func value(_ text: String) -> amqp_field_value_t {
        var field = amqp_field_value_t()
        field.kind = UInt8(AMQP_FIELD_KIND_UTF8.rawValue)
        field.value.bytes = bytes(text)
        return field
    }

    func value(_ flag: Bool) -> amqp_field_value_t {
        var field = amqp_field_value_t()
        field.kind = UInt8(AMQP_FIELD_KIND_BOOLEAN.rawValue)
        field.value.boolean = flag ? 1 : 0
        return field
    }

    func value(_ number: Int64) -> amqp_field_value_t {
        var field = amqp_field_value_t()
        field.kind = UInt8(AMQP_FIELD_KIND_I64.rawValue)
        field.value.i64 = number
        return field
    }

    func value(_ table: amqp_table_t) -> amqp_field_value_t {
        var field = amqp_field_value_t()
        field.kind = UInt8(AMQP_FIELD_KIND_TABLE.rawValue)
        field.value.table = table
        return field
    }
}
