import ArgumentParser
import Foundation
import ModelFile

struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints the token ids of standard input as a JSON array.",
        discussion: "The name of a special token inside the text is plain text.")

    @Option(name: .customLong("model"), help: "The GGUF file of the model.")
    var path: String

    @Flag(help: "Add the tokens that the model's file asks for at the beginning or end.")
    var addSpecial = false

    func run() throws {
        let tokenizer = try Tokenizer(file: try GGUFFile(path: path))
        let text = String(decoding: try FileHandle.readInput(), as: UTF8.self)
        let ids = tokenizer.encode(text, parseSpecial: false, addSpecial: addSpecial)
        print("[\(ids.map(String.init).joined(separator: ","))]")
    }
}
