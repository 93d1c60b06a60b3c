import Foundation
import SeededRandom
import Testing

@testable import ModelFile

/// Inputs that are nearly right, by seed: refused or read, never a trap, whatever they hold. GGUF files and tokenizer.json have
/// theirs in `HostileFileTests` and `TokenizerJSONTests`.
@Suite("Inputs that are nearly right")
struct ReaderMutationTests {
    @Test("templates made of pieces of others", .timeLimit(.minutes(2)), arguments: 0..<6 as Range<UInt64>)
    func templates(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let samples = try TemplateCase.read(
            DefaultModel.root.appending(path: "Tests/ModelFileTests/Fixtures/jinja-constructs.jsonl"))
        let context = try (samples.first?.context ?? [:]).mapValues { try $0.value() }
        var limits = Jinja.Limits()
        limits.work = 20_000
        var rendered = 0
        for _ in 0..<1000 {
            var text: [UInt8] = []
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                guard let piece = samples.randomElement(using: &random)?.template, !piece.isEmpty else { continue }
                let bytes = Array(piece.utf8)
                let start = Int.random(in: 0...bytes.count / 4, using: &random)
                text += bytes[start..<bytes.count - Int.random(in: 0...bytes.count / 4, using: &random)]
            }
            if text.count >= 16, Bool.random(using: &random) { text = HostileFileTests.mutate(text, &random) }
            guard let template = try? Jinja.Template(String(decoding: text, as: UTF8.self), limits: limits),
                let output = try? template.render(context)
            else { continue }
            rendered += 1
            // Whatever was cut and joined: whole characters, and ranges in order that do not touch.
            #expect(String(validating: output.bytes, as: UTF8.self) != nil)
            var end = -1
            for range in output.trusted {
                #expect(range.lowerBound > end && !range.isEmpty && range.upperBound <= output.count)
                end = range.upperBound
            }
        }
        #expect(rendered > 50)
    }

    private static let everyKind = Array(
        #"{"n":null,"t":true,"f":[false,null,{}],"e":"\u00e9\n","x":[1,-2.5e1,"y",[[]]],"n":null,"":{"n":true}}"#.utf8)

    @Test("JSON and headers of safetensors", arguments: 0..<4 as Range<UInt64>)
    func headers(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var json = Array(
            #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},"\u0062":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]}}"#
                .utf8)
        while json.count % 8 != 0 { json.append(0x20) }
        let file = bytes(UInt64(json.count)) + json + [UInt8](repeating: 7, count: 34)
        #expect(try SafeTensorsFile(MappedFile(contents: file), name: "x").tensors.count == 2)
        let digits = (8..<8 + json.count).filter { (0x30...0x39).contains(file[$0]) }
        var parsed = 0
        var opened = 0
        for _ in 0..<2000 {
            let text = HostileFileTests.mutate(Bool.random(using: &random) ? json : Self.everyKind, &random)
            do throws(ModelFileError) {
                try walk(try JSONValue(text, name: "x"))
                parsed += 1
            } catch {
                HostileFileTests.expectNamed(error, ["x"], fileSize: text.count)
            }
            // A number of the header that is another one is the lie that is most nearly right.
            var contents = file
            if Bool.random(using: &random), let place = digits.randomElement(using: &random) {
                contents[place] = UInt8.random(in: 0x30...0x39, using: &random)
            } else {
                contents = HostileFileTests.mutate(file, &random)
            }
            do throws(ModelFileError) {
                let opening = try SafeTensorsFile(MappedFile(contents: contents), name: "x")
                opened += 1
                expectSound(opening, contents)
            } catch {
                HostileFileTests.expectNamed(error, ["x", "file"], fileSize: contents.count)
            }
        }
        #expect(parsed > 50 && opened > 20)
    }

    /// Every tensor has the bytes that its shape asks for, they are the file's, and no byte of the data belongs to two tensors.
    private func expectSound(_ file: SafeTensorsFile, _ contents: [UInt8]) {
        let header = contents.prefix(8).enumerated().reduce(UInt64(0)) {
            $0 | UInt64($1.element) << (8 * UInt64($1.offset))
        }
        var end = header + 8
        for tensor in file.tensors {
            #expect(tensor.offset <= UInt64(contents.count - tensor.byteCount))
            #expect(file.unusable.isEmpty ? tensor.offset == end : tensor.offset >= end)
            #expect(tensor.byteCount == tensor.dimensions.reduce(tensor.type.bytesPerBlock, *) && tensor.byteCount > 0)
            #expect((1...4).contains(tensor.dimensions.count))
            #expect(tensor.name.utf8.allSatisfy { (0x21...0x7E).contains($0) } && file.unusable[tensor.name] == nil)
            end = tensor.offset + UInt64(tensor.byteCount)
        }
        if file.unusable.isEmpty { #expect(end == UInt64(contents.count)) }
        for (name, tensor) in file.unusable { #expect(!name.isEmpty && !tensor.reason.isEmpty) }
    }

    /// A value is read as what it is, and as nothing else; a refusal says where it stands.
    private func walk(_ value: JSONValue) throws(ModelFileError) {
        func reads(_ read: () throws(ModelFileError) -> Void) -> Bool {
            do throws(ModelFileError) {
                try read()
                return true
            } catch {
                #expect(error.field.hasPrefix("x '") && error.field.hasSuffix("'") && !error.reason.isEmpty)
                return false
            }
        }
        let isText = value.kind == .string || value.kind == .escapedString
        #expect(reads { () throws(ModelFileError) in _ = try value.stringBytes() } == isText)
        if let text = try? value.string() { #expect(Array(text.utf8) == (try? Array(value.stringBytes()))) }
        let isTruth = value.kind == .true || value.kind == .false
        #expect(reads { () throws(ModelFileError) in _ = try value.bool() } == isTruth)
        if let number = try? value.int(in: .min ... .max) { #expect((try? value.double()) == Double(number)) }
        if value.kind != .number { #expect(!reads { () throws(ModelFileError) in _ = try value.double() }) }
        var count = 0
        if value.kind == .array {
            try value.forEachElement { (element) throws(ModelFileError) in
                count += 1
                try walk(element)
            }
        } else if value.kind == .object {
            try value.forEachMember { (name, member) throws(ModelFileError) in
                count += 1
                try walk(member)
                // The last of a name is the one that is found.
                if let text = String(validating: name, as: UTF8.self), !member.isNull {
                    #expect(value[text] != nil || isShadowed(text, in: value))
                }
            }
        }
        #expect(value.count == count)
    }

    /// Whether the last member of this name is null.
    private func isShadowed(_ name: String, in value: JSONValue) -> Bool {
        var isNull = false
        try? value.forEachMember { (other, member) in if other.elementsEqual(name.utf8) { isNull = member.isNull } }
        return isNull
    }
}
