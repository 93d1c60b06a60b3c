import ArgumentParser
import Foundation
import ModelFile

struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints the token ids of standard input as a JSON array.",
        discussion: "The name of a special token inside the text is plain text.")

    @Option(
        name: .customLong("model"), help: "The GGUF file of the model, its Hugging Face folder, or a tokenizer.json.")
    var path: String

    @Flag(help: "Read a JSON string from each line instead of one text from all of the input; print a line for each.")
    var lines = false

    @Flag(help: "Add the tokens that the model's file asks for at the beginning or end.")
    var addSpecial = false

    func run() throws {
        let tokenizer =
            path.hasSuffix(".json")
            ? try Tokenizer(tokenizerJSON: Data(contentsOf: URL(filePath: path)))
            : try Tokenizer(source: try ModelSource(path: path))
        let input = try FileHandle.readInput()
        let texts =
            lines
            ? try input.split(separator: 0x0A).map { try JSONDecoder().decode(String.self, from: $0) }
            : [String(decoding: input, as: UTF8.self)]
        for text in texts {
            let ids = tokenizer.encode(text, parseSpecial: false, addSpecial: addSpecial)
            print("[\(ids.map(String.init).joined(separator: ","))]")
        }
    }
}
