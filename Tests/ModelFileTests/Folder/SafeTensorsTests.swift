import Testing

@testable import ModelFile

/// Headers that lie are refused with the name of what is wrong.
@Suite struct SafeTensorsTests {
    static func file(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
        let length = length ?? UInt64(header.utf8.count)
        return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + Array(header.utf8)
            + [UInt8](repeating: 7, count: data)
    }

    static func open(_ bytes: [UInt8]) throws -> SafeTensorsFile {
        try SafeTensorsFile(MappedFile(contents: bytes), name: "x.safetensors")
    }

    /// Padded to a length of 8 bytes, as writers do.
    static func padded(_ header: String) -> String {
        header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    }

    static let good = padded(
        """
        {"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3,2],"data_offsets":[16,28]},\
        "a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"c":{"dtype":"I32","shape":[],"data_offsets":[28,32]}}
        """)

    @Test func givesTensorsWithTheirPlaces() throws {
        let file = try Self.open(Self.file(Self.good, data: 32))
        let start = UInt64(8 + Self.good.utf8.count)
        #expect(file.tensors.map(\.name) == ["a", "b", "c"])
        #expect(file.tensors.map(\.dimensions) == [[4], [2, 3], [1]])
        #expect(file.tensors.map(\.type) == [.f32, .bf16, .i32])
        #expect(file.tensors.map(\.offset) == [start, start + 16, start + 28])
        #expect(file.tensors.map(\.byteCount) == [16, 12, 4])
    }

    static let lies: [(field: String, reason: String, bytes: [UInt8])] = [
        ("header length", "bytes", [1, 2, 3]),
        ("header length", "more than", file("{}", length: .max)),
        ("header length", "more than", file("{}", length: 3)),
        ("x.safetensors", "no value", file("  ")),
        ("x.safetensors", "no object", file("[]")),
        ("x.safetensors", "nested", file(String(repeating: "[", count: 1000))),
        ("x.safetensors", "no end", file("{\"a")),
        ("tensor 'a' dtype", "missing", file(#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, data: 4)),
        (
            "tensor 'a' shape", "four",
            file(#"{"a":{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}}"#, data: 4)
        ),
        ("shape[0]", "not in", file(#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, data: 4)),
        (
            "tensor 'a' shape", "memory",
            file(#"{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}"#, data: 4)
        ),
        ("data_offsets", "do not hold", file(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, data: 4)),
        ("data_offsets[1]", "not in", file(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, data: 4)),
        ("data_offsets", "do not hold", file(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, data: 4)),
        ("data_offsets", "two numbers", file(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, data: 8)),
        (
            "data_offsets", "hole",
            file(padded(#"{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[2,4]}}"#), data: 4)
        ),
        (
            "data_offsets", "overlap",
            file(
                padded(
                    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#
                ), data: 8)
        ),
        (
            "data_offsets", "hole",
            file(padded(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#), data: 8)
        ),
        ("x.safetensors", "belong to none", file(good, data: 40)),
        (
            "tensor 'a'", "twice",
            file(
                padded(
                    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#
                ), data: 4)
        ),
        ("x.safetensors", "printable", file(#"{"a b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, data: 4)),
    ]

    @Test(arguments: lies.indices) func aLieIsRefused(_ index: Int) throws {
        let lie = Self.lies[index]
        let error = try #require(throws: ModelFileError.self) { _ = try Self.open(lie.bytes) }
        #expect(error.field.contains(lie.field), "\(error)")
        #expect(error.reason.contains(lie.reason), "\(error)")
    }

    /// What nobody needs stops nobody.
    @Test(arguments: [
        (#"{"dtype":"F8_E4M3","shape":[4],"data_offsets":[4,8]}"#, "'F8_E4M3' is not supported", true),
        (#"{"dtype":"BOOL","shape":[4],"data_offsets":[4,8]}"#, "'BOOL' is not supported", false),
        (#"{"dtype":"U8","shape":[2,2],"data_offsets":[4,8]}"#, "'U8' is not supported", false),
    ])
    func whatCannotBeComputedWithIsKeptApart(entry: String, reason: String, weights: Bool) throws {
        let header = Self.padded(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":\#(entry)}"#)
        let file = try Self.open(Self.file(header, data: 8))
        #expect(file.tensors.map(\.name) == ["a"])
        #expect(file.unusable["b"]?.reason.contains(reason) == true)
        #expect(file.unusable["b"]?.mayHoldWeights == weights)
    }

    @Test func emptyTensorsAreKeptApartAndUnalignedOnesAreNot() throws {
        let header = Self.padded(
            #"{"a":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},"b":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"#
                + #""c":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},"d":{"dtype":"F16","shape":[1],"data_offsets":[6,8]}}"#
        )
        let file = try Self.open(Self.file(header, data: 8))
        #expect(file.tensors.map(\.name) == ["b", "c", "d"])
        let start = UInt64(8 + header.utf8.count)
        #expect(file.tensors.map(\.offset) == [start, start + 2, start + 6])
        #expect(file.unusable["a"] == .init(reason: "it has no numbers", mayHoldWeights: false))
        #expect(file.unusable.count == 1)
    }

    /// Whatever a header says, every tensor that is given out lies inside the file.
    @Test func changedBytesGiveAnErrorOrTensorsInside() throws {
        let original = Self.file(Self.good, data: 32)
        var state: UInt64 = 1, refused = 0
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<5000 {
            var bytes = original
            for _ in 0...next(3) { bytes[next(8 + Self.good.utf8.count)] = UInt8(next(256)) }
            if next(4) == 0 { bytes.removeLast(1 + next(bytes.count - 1)) }
            do {
                for tensor in try Self.open(bytes).tensors {
                    #expect(Int(tensor.offset) + tensor.byteCount <= bytes.count)
                }
            } catch is ModelFileError {
                refused += 1
            }
        }
        #expect(refused > 4000)
    }
}
