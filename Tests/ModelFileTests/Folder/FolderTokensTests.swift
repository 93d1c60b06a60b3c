import Foundation
import Testing

@testable import ModelFile

@Suite struct FolderTokensTests {
    static func folder(_ changes: [String: String]) throws -> ModelFolderTests.Folder {
        var files = ModelFolderTests.two
        files["tokenizer.json"] = Array(
            #"{"added_tokens":[{"id":2,"content":"<end>","special":true}],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":3,"<end>":2},"merges":["a b"]}}"#
                .utf8)
        for (name, text) in changes { files[name] = Array(text.utf8) }
        return try ModelFolderTests.Folder(files)
    }

    @Test func stopTokensComeFromBothFiles() throws {
        let folder = try Self.folder([
            "config.json": #"{"eos_token_id":2}"#, "generation_config.json": #"{"eos_token_id":[3,2]}"#,
        ])
        let model = try folder.open()
        #expect(try model.stopTokens() == [3, 2])
        let tokenizer = try Tokenizer(source: .folder(model))
        #expect(tokenizer.stopTokens.isSuperset(of: [2, 3]))
        #expect(tokenizer.encode("ab", parseSpecial: false) == [3])
        #expect(try Self.folder([:]).open().stopTokens() == [])
    }

    @Test(arguments: ["-1", "4294967296", "\"x\"", "[[1]]", "{}"]) func aStopTokenThatIsNoneIsRefused(_ id: String)
        throws
    {
        let folder = try Self.folder(["generation_config.json": "{\"eos_token_id\":\(id)}"])
        let error = try #require(throws: ModelFileError.self) { _ = try folder.open().stopTokens() }
        #expect(error.field.contains("generation_config.json 'eos_token_id"), "\(error)")
    }

    @Test func aFolderWithoutATokenizerIsRefused() throws {
        let folder = try ModelFolderTests.Folder(ModelFolderTests.two), model = try folder.open()
        let error = try #require(throws: ModelFileError.self) { _ = try Tokenizer(folder: model) }
        #expect(error.field == "tokenizer.json")
    }
}
