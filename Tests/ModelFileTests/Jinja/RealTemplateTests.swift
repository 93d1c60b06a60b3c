import Foundation
import Testing

@testable import ModelFile

/// Templates of real models, which are not ours to commit: they and what jinja2 makes of them come from
/// `Tests/Reference/render_templates.py`.
@Suite("Real templates")
struct RealTemplateTests {
    static let url = DefaultModel.root.appending(path: ".local/templates.jsonl")
    static let isPresent = FileManager.default.fileExists(atPath: url.path)

    /// Where we differ knowingly, by the beginning of a name.
    static let exceptions = [
        // They use the filter `from_json`, which jinja2 misses when it gets there, and we when we read the file.
        "deepseek-ai-DeepSeek-V3.2/", "deepseek-ai-DeepSeek-V4/", "deepseek-ai-DeepSeek-V4-Flash-0731/",
        // They concatenate with `safe`, after which jinja2 writes quotes as HTML. `safe` changes nothing here.
        "meetkai-functionary-medium-v3.1/tool", "meetkai-functionary-medium-v3.1/system-tools",
        // `map | tojson`: jinja2 cannot write a generator.
        "llama-cpp-deepseek-r1/tool", "llama-cpp-deepseek-r1/system-tools",
    ]

    @Test(
        "every real template gives what jinja2 makes of it, and what jinja2 refuses is refused",
        .enabled(if: isPresent, "needs .local/templates.jsonl, see Tests/Reference/README.md"))
    func realTemplates() throws {
        var compared = 0
        for sample in try TemplateCase.read(Self.url) where !Self.exceptions.contains(where: sample.name.hasPrefix) {
            compared += 1
            do {
                let text = try sample.render().string
                #expect(text.utf8.elementsEqual((sample.expected ?? "a refusal").utf8), "\(sample.name)")
            } catch let error as Jinja.TemplateError {
                #expect(sample.expected == nil, "\(sample.name): \(error)")
            }
        }
        #expect(compared >= 100)
    }
}
