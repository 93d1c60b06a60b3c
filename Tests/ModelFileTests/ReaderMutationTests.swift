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

    @Test("JSON and headers of safetensors", arguments: 0..<4 as Range<UInt64>)
    func headers(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var json = Array(
            #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"\u0062":{"dtype":"BF16","shape":[4],"data_offsets":[16,24]}}"#
                .utf8)
        while json.count % 8 != 0 { json.append(0x20) }
        let file = bytes(UInt64(json.count)) + json + [UInt8](repeating: 7, count: 24)
        #expect(try SafeTensorsFile(MappedFile(contents: file), name: "x").tensors.count == 2)
        var parsed = 0
        var opened = 0
        for _ in 0..<2000 {
            if let value = try? JSONValue(HostileFileTests.mutate(json, &random), name: "x") {
                parsed += 1
                walk(value)
            }
            let contents = HostileFileTests.mutate(file, &random)
            guard let mapped = try? MappedFile(contents: contents),
                let opening = try? SafeTensorsFile(mapped, name: "x")
            else { continue }
            opened += 1
            for tensor in opening.tensors {
                #expect(tensor.byteCount >= 0 && tensor.offset <= UInt64(contents.count - tensor.byteCount))
            }
        }
        #expect(parsed > 50 && opened > 20)
    }

    private func walk(_ value: JSONValue) {
        _ = try? value.string()
        _ = try? value.double()
        _ = try? value.bool()
        _ = value["dtype"]
        try? value.forEachElement { walk($0) }
        try? value.forEachMember { _, value in walk(value) }
    }
}
