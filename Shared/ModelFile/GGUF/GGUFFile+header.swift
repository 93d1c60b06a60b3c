extension ByteReader {
    /// Least bytes of a metadata entry: key length, one byte of key, value type, one byte of value.
    private static var leastMetadataEntry: Int { 8 + 1 + 4 + 1 }
    /// Least bytes of a directory entry: name length, one byte of name, dimension count, one dimension, type, offset.
    private static var leastTensorEntry: Int { 8 + 1 + 4 + 8 + 4 + 8 }

    struct Header {
        let version: UInt32
        let tensorCount: Int
        let metadataCount: Int
    }

    mutating func header() throws(ModelFileError) -> Header {
        let magic = try integer(UInt32.self, "magic")
        guard magic == 0x4655_4747 else {  // "GGUF" read little-endian
            throw ModelFileError(offset: 0, field: "magic", reason: "is not 'GGUF'")
        }
        let version = try integer(UInt32.self, "version")
        guard version.byteSwapped != 2, version.byteSwapped != 3 else {
            throw ModelFileError(offset: 4, field: "version", reason: "the file is big-endian, which is not supported")
        }
        guard version == 2 || version == 3 else {
            throw ModelFileError(offset: 4, field: "version", reason: "\(version) is not supported (2 and 3 are)")
        }
        let tensorCount = try count(elementSize: Self.leastTensorEntry, "tensor count")
        let metadataCount = try count(elementSize: Self.leastMetadataEntry, "metadata count")
        guard tensorCount <= GGUFFile.tensorLimit else {
            throw ModelFileError(
                offset: 8, field: "tensor count", reason: "\(tensorCount) is above \(GGUFFile.tensorLimit)")
        }
        guard metadataCount <= GGUFFile.metadataLimit else {
            throw ModelFileError(
                offset: 16, field: "metadata count", reason: "\(metadataCount) is above \(GGUFFile.metadataLimit)")
        }
        return Header(version: version, tensorCount: tensorCount, metadataCount: metadataCount)
    }

    mutating func metadata(count: Int) throws(ModelFileError) -> [String: MetadataValue] {
        var metadata: [String: MetadataValue] = [:]
        for index in 0..<count {
            let start = offset
            let key = try name(limit: GGUFFile.keyLengthLimit, "metadata key \(index)")
            let type = try metadataType("metadata '\(key)'")
            let value = try metadataValue(type, "metadata '\(key)'")
            guard metadata.updateValue(value, forKey: key) == nil else {
                throw ModelFileError(offset: UInt64(start), field: "metadata '\(key)'", reason: "appears twice")
            }
        }
        return metadata
    }

    /// The directory of tensors, each checked to lie inside the file, aligned, and apart from all others.
    mutating func tensorDirectory(count: Int, alignment: Int) throws(ModelFileError) -> [Tensor] {
        var entries: [TensorEntry] = []
        var names: Set<String> = []
        for index in 0..<count {
            let start = offset
            let entry = try tensorEntry(index)
            guard names.insert(entry.name).inserted else {
                throw ModelFileError(offset: UInt64(start), field: "tensor '\(entry.name)'", reason: "appears twice")
            }
            entries.append(entry)
        }
        // The data begin at the next multiple of the alignment; `offset` is far below Int.max.
        let dataStart = (offset + alignment - 1) / alignment * alignment
        var tensors: [Tensor] = []
        tensors.reserveCapacity(entries.count)
        for entry in entries {
            tensors.append(try entry.place(dataStart: dataStart, alignment: alignment, fileSize: bytes.count))
        }
        try refuseOverlaps(tensors, entries)
        return tensors
    }

    private mutating func tensorEntry(_ index: Int) throws(ModelFileError) -> TensorEntry {
        let name = try name(limit: GGUFFile.tensorNameLimit, "tensor \(index) name")
        let countOffset = offset
        let dimensionCount = try integer(UInt32.self, "tensor '\(name)' dimension count")
        guard (1...4).contains(dimensionCount) else {
            throw ModelFileError(
                offset: UInt64(countOffset), field: "tensor '\(name)' dimension count",
                reason: "\(dimensionCount) is not in 1...4")
        }
        var dimensions: [Int] = []
        var elementCount = 1
        for axis in 0..<Int(dimensionCount) {
            let start = offset
            let field = "tensor '\(name)' dimension \(axis)"
            let raw = try integer(UInt64.self, field)
            guard let dimension = Int(exactly: raw), dimension > 0 else {
                throw ModelFileError(offset: UInt64(start), field: field, reason: "\(raw) is not in 1...\(Int.max)")
            }
            let (product, overflow) = elementCount.multipliedReportingOverflow(by: dimension)
            guard !overflow else {
                throw ModelFileError(
                    offset: UInt64(start), field: field, reason: "the product of the dimensions overflows")
            }
            elementCount = product
            dimensions.append(dimension)
        }
        let typeOffset = offset
        let typeID = try integer(UInt32.self, "tensor '\(name)' type")
        guard let type = TensorType(rawValue: typeID) else {
            throw ModelFileError(
                offset: UInt64(typeOffset), field: "tensor '\(name)' type", reason: "\(typeID) is no known tensor type")
        }
        guard dimensions[0] % type.blockSize == 0 else {
            throw ModelFileError(
                offset: UInt64(typeOffset), field: "tensor '\(name)' dimension 0",
                reason: "\(dimensions[0]) is not a multiple of the \(type) block size \(type.blockSize)")
        }
        let fieldOffset = offset
        let dataOffset = try integer(UInt64.self, "tensor '\(name)' offset")
        return TensorEntry(
            name: name, dimensions: dimensions, elementCount: elementCount, type: type, dataOffset: dataOffset,
            fieldOffset: UInt64(fieldOffset))
    }

    private func refuseOverlaps(_ tensors: [Tensor], _ entries: [TensorEntry]) throws(ModelFileError) {
        let order = tensors.indices.sorted { tensors[$0].offset < tensors[$1].offset }
        for (before, after) in zip(order, order.dropFirst()) {
            guard tensors[before].offset + UInt64(tensors[before].byteCount) <= tensors[after].offset else {
                throw ModelFileError(
                    offset: entries[after].fieldOffset, field: "tensor '\(tensors[after].name)' offset",
                    reason: "its data overlap those of '\(tensors[before].name)'")
            }
        }
    }
}

/// A directory entry as it was read, before its place in the file is known.
private struct TensorEntry {
    let name: String
    let dimensions: [Int]
    let elementCount: Int
    let type: TensorType
    /// From the start of the data.
    let dataOffset: UInt64
    /// Where in the file `dataOffset` stands, for error messages.
    let fieldOffset: UInt64

    func place(dataStart: Int, alignment: Int, fileSize: Int) throws(ModelFileError) -> Tensor {
        guard dataOffset % UInt64(alignment) == 0 else {
            throw ModelFileError(
                offset: fieldOffset, field: "tensor '\(name)' offset",
                reason: "\(dataOffset) is not a multiple of the alignment \(alignment)")
        }
        let (byteCount, sizeOverflow) = (elementCount / type.blockSize)
            .multipliedReportingOverflow(by: type.bytesPerBlock)
        let (start, startOverflow) = UInt64(dataStart).addingReportingOverflow(dataOffset)
        guard !sizeOverflow, !startOverflow, start <= UInt64(fileSize),
            UInt64(byteCount) <= UInt64(fileSize) - start
        else {
            throw ModelFileError(
                offset: fieldOffset, field: "tensor '\(name)' offset",
                reason: "\(elementCount) \(type) numbers at \(dataOffset) of the data do not fit a file of "
                    + "\(fileSize) bytes")
        }
        return Tensor(name: name, dimensions: dimensions, type: type, offset: start, byteCount: byteCount)
    }
}
