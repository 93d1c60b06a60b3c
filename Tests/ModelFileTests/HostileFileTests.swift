import Foundation
import SeededRandom
import Testing

@testable import ModelFile

@Suite("GGUF files that lie")
struct HostileFileTests {
    /// A lie, and the field that the error must name.
    struct Lie: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let field: String
        let contents: [UInt8]

        init(_ description: String, field: String, _ change: (inout GGUFWriter) -> Void) {
            var writer = GGUFFileTests.small()
            change(&writer)
            self.init(description, field: field, contents: writer.contents())
        }

        init(_ description: String, field: String, contents: [UInt8]) {
            testDescription = description
            self.field = field
            self.contents = contents
        }
    }

    static func tensor(_ change: @escaping (inout GGUFWriter.TensorEntry) -> Void) -> (inout GGUFWriter) -> Void {
        { writer in change(&writer.tensors[0]) }
    }

    static func array(_ element: UInt32, count: UInt64, _ contents: [UInt8] = []) -> GGUFWriter.Value {
        .raw(9, bytes(element) + bytes(count) + contents)
    }

    static func metadata(_ value: GGUFWriter.Value) -> (inout GGUFWriter) -> Void {
        { writer in writer.metadata.append(("lie", value)) }
    }

    static let nested = (0..<40).reduce(into: [UInt8]()) { out, _ in out += bytes(UInt32(9)) + bytes(UInt64(1)) }

    static let lies: [Lie] = [
        Lie("magic", field: "magic") { $0.magic = Array("GGML".utf8) },
        Lie("version 1", field: "version") { $0.version = 1 },
        Lie("version 4", field: "version") { $0.version = 4 },
        Lie("big-endian", field: "version") { $0.version = UInt32(3).byteSwapped },
        Lie("tensor count of all ones", field: "tensor count") { $0.tensorCount = .max },
        Lie("one tensor too many", field: "tensor 2 name length") { $0.tensorCount = 3 },
        Lie("metadata count of all ones", field: "metadata count") { $0.metadataCount = .max },
        Lie("key length of all ones", field: "metadata key 0 length", contents: lyingKey(length: .max)),
        Lie("key length 0", field: "metadata key 0 length", contents: lyingKey(length: 0)),
        Lie("key length 257", field: "metadata key 0 length", contents: lyingKey(length: 257)),
        Lie("key with a newline", field: "metadata key 8") { $0.metadata.append(("a\nb", .uint8(0))) },
        Lie("key twice", field: "metadata 'llama.block_count'") {
            $0.metadata.append(("llama.block_count", .uint8(0)))
        },
        Lie("value type 13", field: "metadata 'lie' type", metadata(.raw(13, []))),
        Lie("boolean 2", field: "metadata 'lie'", metadata(.bool(2))),
        Lie("string length near 2^63", field: "metadata 'lie' length", metadata(.raw(8, bytes(UInt64(1) << 63)))),
        Lie("string length of all ones", field: "metadata 'lie' length", metadata(.raw(8, bytes(UInt64.max)))),
        Lie("element type 99", field: "metadata 'lie' element type", metadata(array(99, count: 0))),
        Lie("array count of all ones", field: "metadata 'lie' count", metadata(array(0, count: .max))),
        Lie("array size wraps to 0", field: "metadata 'lie' count", metadata(array(10, count: 1 << 61))),
        Lie("strings that are not there", field: "metadata 'lie' count", metadata(array(8, count: 1 << 40))),
        Lie(
            "a string of an array too long", field: "metadata 'lie'[1] length",
            metadata(array(8, count: 2, bytes(UInt64(1)) + [65] + bytes(UInt64.max)))),
        Lie("a boolean of an array", field: "metadata 'lie'[1]", metadata(array(7, count: 2, [1, 7]))),
        Lie("arrays that are not there", field: "metadata 'lie' count", metadata(array(9, count: 1 << 50))),
        Lie("arrays nested without end", field: "metadata 'lie'[0][0][0][0]", metadata(.raw(9, nested))),
        Lie("alignment 0", field: "metadata 'general.alignment'") {
            $0.metadata.append(("general.alignment", .uint32(0)))
        },
        Lie("alignment 24", field: "metadata 'general.alignment'") {
            $0.metadata.append(("general.alignment", .uint32(24)))
        },
        Lie("alignment 2^31", field: "metadata 'general.alignment'") {
            $0.metadata.append(("general.alignment", .uint32(1 << 31)))
        },
        Lie("alignment as a string", field: "metadata 'general.alignment'") {
            $0.metadata.append(("general.alignment", .string("32")))
        },
        Lie("tensor twice", field: "tensor 'output_norm.weight'") { $0.add("output_norm.weight", [1]) },
        Lie("tensor without a name", field: "tensor 0 name length", tensor { $0.name = "" }),
        Lie(
            "tensor name too long", field: "tensor 0 name length",
            tensor { $0.name = String(repeating: "x", count: 65) }),
        Lie("no dimensions", field: "tensor 'token_embd.weight' dimension count", tensor { $0.dimensions = [] }),
        Lie(
            "five dimensions", field: "tensor 'token_embd.weight' dimension count",
            tensor { $0.dimensions = [1, 1, 1, 1, 1] }),
        Lie(
            "2^32 - 1 dimensions", field: "tensor 'token_embd.weight' dimension count",
            tensor { $0.dimensionCount = .max }),
        Lie("dimension 0", field: "tensor 'token_embd.weight' dimension 1", tensor { $0.dimensions = [3, 0] }),
        Lie("dimension 2^63", field: "tensor 'token_embd.weight' dimension 0", tensor { $0.dimensions = [1 << 63] }),
        Lie(
            "product of dimensions wraps to 0", field: "tensor 'token_embd.weight' dimension 1",
            tensor { $0.dimensions = [1 << 32, 1 << 32] }),
        Lie(
            "product of dimensions wraps to 6", field: "tensor 'token_embd.weight' dimension 1",
            tensor { $0.dimensions = [3, 0x5555_5555_5555_5557] }),
        Lie("bytes wrap", field: "tensor 'token_embd.weight' offset", tensor { $0.dimensions = [1 << 62] }),
        Lie("type 4, which was removed", field: "tensor 'token_embd.weight' type", tensor { $0.type = 4 }),
        Lie("type of all ones", field: "tensor 'token_embd.weight' type", tensor { $0.type = .max }),
        Lie(
            "row that is no whole number of blocks", field: "tensor 'token_embd.weight' dimension 0",
            tensor { $0.type = 2 }),
        Lie("offset that is not aligned", field: "tensor 'token_embd.weight' offset", tensor { $0.offset = 1 }),
        Lie("offset beyond the end", field: "tensor 'token_embd.weight' offset", tensor { $0.offset = 1 << 20 }),
        Lie("offset that wraps", field: "tensor 'token_embd.weight' offset", tensor { $0.offset = .max - 31 }),
        Lie("size beyond the end", field: "tensor 'token_embd.weight' offset", tensor { $0.dimensions = [3, 1000] }),
        Lie("overlap", field: "tensor 'output_norm.weight' offset", tensor { $0.dimensions = [9] }),
        Lie("empty", field: "file", contents: []),
    ]

    /// A header and one metadata key that claims a length.
    static func lyingKey(length: UInt64) -> [UInt8] {
        Array("GGUF".utf8) + bytes(UInt32(3)) + bytes(UInt64(0)) + bytes(UInt64(1)) + bytes(length)
            + [UInt8](repeating: 65, count: 400)
    }

    @Test("a lie is found, and its field named", arguments: lies)
    func lie(_ lie: Lie) throws {
        let error = #expect(throws: ModelFileError.self) { try GGUFFile(contents: lie.contents) }
        #expect(try #require(error).field == lie.field, "\(error?.description ?? "")")
        if let offset = error?.offset { #expect(offset <= UInt64(lie.contents.count)) }
    }

    @Test("a file cut anywhere is refused")
    func truncated() {
        let contents = GGUFFileTests.small().contents()
        for count in 0..<contents.count {
            #expect(throws: ModelFileError.self, "cut to \(count)") {
                try GGUFFile(contents: Array(contents[..<count]))
            }
        }
    }

    @Test("what is no file of bytes is refused", arguments: ["/nonexistent/model.gguf", "/", "/dev/null"])
    func notAFile(path: String) throws {
        let error = #expect(throws: ModelFileError.self) { try GGUFFile(path: path) }
        #expect(try #require(error).field == "file")
    }

    @Test(
        "changed files are refused or read, and never trap", .timeLimit(.minutes(2)), arguments: 0..<8 as Range<UInt64>)
    func mutations(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var writer = SmallVocabulary.writer(
            pre: ["gpt-2", "smollm", "llama-bpe"][Int(seed % 3)], merges: [("a", "b"), ("ab", "a")],
            extra: [("<x>", 4)], template: ChatTemplateTests.chatML,
            metadata: [
                (
                    "nested",
                    Self.array(
                        9, count: 2,
                        [6, 0, 0, 0] + bytes(UInt64(1)) + [0, 0, 0, 0]
                            + [0, 0, 0, 0] + bytes(UInt64(0)))
                )
            ])
        writer.add("a", [1, 2, 3])
        writer.add("b", [4, 5, 6, 7], dimensions: [2, 2])
        let original = writer.contents()
        var opened = 0
        var tokenized = 0
        for _ in 0..<600 {
            // The directory of the tensors is a small part of the file, and the one that says where numbers lie.
            let start = Bool.random(using: &random) ? 0 : original.count - 192
            let contents = Array(original[..<start]) + Self.mutate(Array(original[start...]), &random)
            let file: GGUFFile
            do throws(ModelFileError) {
                file = try GGUFFile(contents: contents)
            } catch {
                Self.expectNamed(
                    error, ["magic", "version", "tensor ", "metadata ", "file"], fileSize: contents.count)
                continue
            }
            opened += 1
            Self.readEverything(file, contents)
            let tokenizer: Tokenizer
            do throws(ModelFileError) {
                tokenizer = try Tokenizer(file: file)
            } catch {
                Self.expectNamed(error, ["metadata 'tokenizer."], fileSize: contents.count)
                continue
            }
            tokenized += 1
            let ids = tokenizer.encode("abab <x> <|im_end|> é", parseSpecial: true, addSpecial: true)
            #expect(ids.allSatisfy { $0 >= 0 && $0 < tokenizer.vocabularySize })
            _ = tokenizer.decode(ids, includingSpecial: true)
            guard let template = try? ChatTemplate(file: file, tokenizer: tokenizer) else { continue }
            _ = try? template.encode([ChatMessage(role: .user, content: "ab")])
        }
        // The mutations must reach behind the checks too, or this shows nothing.
        #expect(opened > 10)
        #expect(tokenized > 5)
    }

    /// A refusal names a field that the format has, and a place inside the file.
    static func expectNamed(_ error: ModelFileError, _ fields: [String], fileSize: Int) {
        #expect(fields.contains { error.field.hasPrefix($0) } && !error.reason.isEmpty, "\(error)")
        #expect(error.offset ?? 0 <= UInt64(fileSize), "\(error)")
    }

    /// What the header promises of a tensor holds of its bytes; every value of the metadata can be asked for as anything.
    static func readEverything(_ file: GGUFFile, _ contents: [UInt8]) {
        var end: UInt64 = 0
        for tensor in file.tensorList.sorted(by: { $0.offset < $1.offset }) {
            #expect(tensor.offset >= end && tensor.offset % UInt64(file.alignment) == 0)
            end = tensor.offset + UInt64(tensor.byteCount)
            #expect(end <= UInt64(contents.count))
            #expect(tensor.elementCount == tensor.dimensions.reduce(1, *) && tensor.dimensions.allSatisfy { $0 > 0 })
            let isThere = file.withBytes(of: tensor) { $0.elementsEqual(contents[Int(tensor.offset)..<Int(end)]) }
            #expect(isThere)
            file.releasePages(of: tensor)
        }
        for key in file.metadata.keys {
            _ = try? file.string(key)
            _ = try? file.uint(key)
            _ = try? file.float(key)
            _ = try? file.bool(key)
            _ = try? file.int(key, in: 0...10)
            _ = try? file.strings(key)
            _ = try? file.integers(key)
            _ = try? file.floats(key)
        }
    }

    /// A few changes of the kinds that break readers: bits, whole words at their extremes, bytes lost or doubled.
    static func mutate(_ original: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var contents = original
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let index = Int.random(in: 0..<contents.count, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0...2: contents[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 3: contents[index] = UInt8.random(in: 0...255, using: &random)
            case 4:
                let extremes: [UInt64] = [0, 1, .max, .max >> 1, 1 << 63, 1 << 61, 0xFFFF_FFFF, 1 << 32]
                let word = bytes(extremes.randomElement(using: &random) ?? 0)
                for (offset, byte) in word.enumerated() where index + offset < contents.count {
                    contents[index + offset] = byte
                }
            case 5: contents.remove(at: index)
            case 6: contents.insert(contents[index], at: index)
            default: contents.removeLast(Int.random(in: 0..<contents.count / 4, using: &random))
            }
        }
        return contents
    }
}
