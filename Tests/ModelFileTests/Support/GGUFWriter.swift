/// Writes GGUF files, right ones and lying ones: every count and length can be overridden.
struct GGUFWriter {
    enum Value {
        case uint8(UInt8), uint32(UInt32), int32(Int32), uint64(UInt64), float32(Float), bool(UInt8)
        case string(String), rawString([UInt8])
        case strings([String]), int32s([Int32]), float32s([Float])
        /// Type id, then the bytes as they shall stand in the file.
        case raw(UInt32, [UInt8])
    }

    struct TensorEntry {
        var name: String
        var dimensions: [UInt64]
        var type: UInt32
        var offset: UInt64
        var dimensionCount: UInt32?
    }

    var magic: [UInt8] = Array("GGUF".utf8)
    var version: UInt32 = 3
    var metadata: [(key: String, value: Value)] = []
    var tensors: [TensorEntry] = []
    var data: [UInt8] = []
    var alignment = 32
    var metadataCount: UInt64?
    var tensorCount: UInt64?

    /// Adds an F32 tensor whose data follow those of the tensors before it.
    mutating func add(_ name: String, _ values: [Float], dimensions: [UInt64]? = nil) {
        while data.count % alignment != 0 { data.append(0) }
        tensors.append(
            TensorEntry(
                name: name, dimensions: dimensions ?? [UInt64(values.count)], type: 0, offset: UInt64(data.count)))
        for value in values { data += bytes(value.bitPattern) }
    }

    func contents() -> [UInt8] {
        var out = magic + bytes(version)
        out += bytes(tensorCount ?? UInt64(tensors.count)) + bytes(metadataCount ?? UInt64(metadata.count))
        for (key, value) in metadata {
            out += string(Array(key.utf8)) + encoded(value)
        }
        for tensor in tensors {
            out += string(Array(tensor.name.utf8))
            out += bytes(tensor.dimensionCount ?? UInt32(tensor.dimensions.count))
            for dimension in tensor.dimensions { out += bytes(dimension) }
            out += bytes(tensor.type) + bytes(tensor.offset)
        }
        while out.count % alignment != 0 { out.append(0) }
        return out + data
    }

    private func encoded(_ value: Value) -> [UInt8] {
        switch value {
        case .uint8(let v): bytes(UInt32(0)) + [v]
        case .uint32(let v): bytes(UInt32(4)) + bytes(v)
        case .int32(let v): bytes(UInt32(5)) + bytes(v)
        case .float32(let v): bytes(UInt32(6)) + bytes(v.bitPattern)
        case .bool(let v): bytes(UInt32(7)) + [v]
        case .uint64(let v): bytes(UInt32(10)) + bytes(v)
        case .string(let v): bytes(UInt32(8)) + string(Array(v.utf8))
        case .rawString(let v): bytes(UInt32(8)) + string(v)
        case .strings(let v):
            bytes(UInt32(9)) + bytes(UInt32(8)) + bytes(UInt64(v.count)) + v.flatMap { string(Array($0.utf8)) }
        case .int32s(let v): bytes(UInt32(9)) + bytes(UInt32(5)) + bytes(UInt64(v.count)) + v.flatMap { bytes($0) }
        case .float32s(let v):
            bytes(UInt32(9)) + bytes(UInt32(6)) + bytes(UInt64(v.count)) + v.flatMap { bytes($0.bitPattern) }
        case .raw(let type, let v): bytes(type) + v
        }
    }
}

/// A length, then the bytes.
func string(_ contents: [UInt8]) -> [UInt8] { bytes(UInt64(contents.count)) + contents }

/// Little-endian bytes.
func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
