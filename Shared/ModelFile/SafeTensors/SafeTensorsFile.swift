/// Why nothing can be computed with a tensor that a file has.
public struct UnusableTensor: Error, Sendable, Equatable {
    public let reason: String
    /// False for what is never a part of a model's arithmetic: masks, counters, nothing at all.
    public let mayHoldWeights: Bool
}

/// A safetensors file, mapped read-only (format: the README of the safetensors project): the length of the header in 8 bytes,
/// a JSON object that gives each tensor its type, shape and place, and the data.
///
/// Opening checks the whole header and touches no tensor.
final class SafeTensorsFile: Sendable {
    /// A shard has a few hundred tensors of about 120 bytes each.
    static let headerLimit = 32 << 20
    static let tensorLimit = 1 << 16
    static let nameLimit = 256

    let name: String
    /// In the order of their data. Offsets count from the start of the file, and may be odd: the format aligns nothing.
    let tensors: [Tensor]
    /// What nothing can be computed with, by name: a model that does not need it runs all the same.
    let unusable: [String: UnusableTensor]
    let file: MappedFile

    /// - Parameter name: the file's, for errors.
    init(_ file: MappedFile, name: String) throws(ModelFileError) {
        var reader = ByteReader(file.bytes)
        let length = try reader.integer(UInt64.self, "\(name) header length")
        guard length <= UInt64(min(Self.headerLimit, reader.remaining)) else {
            throw ModelFileError(
                offset: 0, field: "\(name) header length",
                reason: "\(length) is more than \(Self.headerLimit) or than the file has")
        }
        let range = try reader.skip(Int(length), "\(name) header")
        let header = try JSONValue(Array(file.bytes[range]), name: name)
        var tensors: [Tensor] = [], unusable: [String: UnusableTensor] = [:], places: [Place] = []
        var names: Set<String> = []
        try header.forEachMember { (bytes, entry) throws(ModelFileError) in
            guard !bytes.elementsEqual("__metadata__".utf8) else { return }
            guard (1...Self.nameLimit).contains(bytes.count), bytes.allSatisfy({ (0x21...0x7E).contains($0) }),
                names.count < Self.tensorLimit
            else {
                throw header.refusal("a tensor's name is no printable ASCII, or there are too many tensors")
            }
            let tensor = String(decoding: bytes, as: UTF8.self)
            guard names.insert(tensor).inserted else {
                throw ModelFileError(offset: nil, field: "\(name) tensor '\(tensor)'", reason: "appears twice")
            }
            let found = try Self.tensor(tensor, entry, data: range.upperBound..<file.bytes.count, in: name)
            places.append(found.place)
            switch found.contents {
            case .success(let usable): tensors.append(usable)
            case .failure(let reason): unusable[tensor] = reason
            }
        }
        self.tensors = tensors.sorted { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
        self.unusable = unusable
        self.name = name
        self.file = file
        try check(places, data: range.upperBound..<file.bytes.count)
    }

    /// Where a tensor's data lie in the file.
    private struct Place {
        let name: String
        let range: Range<Int>
    }

    private static func tensor(
        _ name: String, _ entry: JSONValue, data: Range<Int>, in file: String
    ) throws(ModelFileError) -> (place: Place, contents: Result<Tensor, UnusableTensor>) {
        func refusal(_ what: String, _ reason: String) -> ModelFileError {
            ModelFileError(offset: nil, field: "\(file) tensor '\(name)' \(what)", reason: reason)
        }
        func member(_ key: String) throws(ModelFileError) -> JSONValue {
            guard let value = entry[key] else { throw refusal(key, "is missing") }
            return value
        }
        let typeName = try member("dtype").string()
        let type = Self.type(typeName)
        // Row-major: the last is the fastest, which ggml's order has first.
        var dimensions: [Int] = []
        try member("shape").forEachElement { (size) throws(ModelFileError) in
            guard dimensions.count < 4 else { throw refusal("shape", "has more than four dimensions") }
            dimensions.insert(try size.int(in: 0...(1 << 40)), at: 0)
        }
        if dimensions.isEmpty { dimensions = [1] }
        var bytes = type?.bytesPerBlock ?? 0
        for dimension in dimensions {
            let (product, overflow) = bytes.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw refusal("shape", "is more than memory can hold") }
            bytes = product
        }
        var places: [Int] = []
        try member("data_offsets").forEachElement { (place) throws(ModelFileError) in
            guard places.count < 2 else { throw refusal("data_offsets", "are not two numbers") }
            places.append(try place.int(in: 0...data.count))
        }
        guard places.count == 2, places[0] <= places[1], type == nil || places[1] - places[0] == bytes else {
            throw refusal("data_offsets", "\(places) do not hold the \(bytes) bytes of \(dimensions) in \(typeName)")
        }
        let start = data.lowerBound + places[0]
        let place = Place(name: name, range: start..<data.lowerBound + places[1])
        guard let type else {
            // Masks and counters that old versions saved; numbers of 8 bits are weights.
            let holdsWeights = !["BOOL", "U8", "U16", "U32", "U64"].contains(typeName)
            return (
                place,
                .failure(
                    .init(reason: "its dtype '\(typeName.prefix(32))' is not supported", mayHoldWeights: holdsWeights))
            )
        }
        guard bytes > 0 else {
            return (place, .failure(.init(reason: "it has no numbers", mayHoldWeights: false)))
        }
        return (
            place,
            .success(Tensor(name: name, dimensions: dimensions, type: type, offset: UInt64(start), byteCount: bytes))
        )
    }

    /// The format leaves no holes between tensors, so an overlap or a file of another length shows as one.
    private func check(_ places: [Place], data: Range<Int>) throws(ModelFileError) {
        var end = data.lowerBound
        let order = places.sorted { ($0.range.lowerBound, $0.range.count) < ($1.range.lowerBound, $1.range.count) }
        for place in order {
            guard place.range.lowerBound == end else {
                throw ModelFileError(
                    offset: UInt64(place.range.lowerBound), field: "\(name) tensor '\(place.name)' data_offsets",
                    reason: place.range.lowerBound < end
                        ? "overlap those of another tensor" : "leave a hole before them")
            }
            end = place.range.upperBound
        }
        guard end == data.upperBound else {
            throw ModelFileError(offset: UInt64(end), field: name, reason: "bytes after the last tensor belong to none")
        }
    }

    private static func type(_ name: String) -> TensorType? {
        switch name {
        case "F32": .f32
        case "F16": .f16
        case "BF16": .bf16
        case "F64": .f64
        case "I64": .i64
        case "I32": .i32
        case "I16": .i16
        case "I8": .i8
        default: nil
        }
    }
}
