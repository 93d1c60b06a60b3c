import Foundation
import Testing

@testable import ModelFile

/// Our own templates, one for each construct, with what jinja2 makes of them.
@Suite("Jinja's constructs")
struct JinjaFixtureTests {
    @Test("every construct gives what jinja2 makes of it, and what jinja2 refuses is refused")
    func constructs() throws {
        let cases = try TemplateCase.read(
            DefaultModel.root.appending(path: "Tests/ModelFileTests/Fixtures/jinja-constructs.jsonl"))
        #expect(cases.count > 400)
        for sample in cases {
            do {
                let text = try sample.render().string
                #expect(
                    text.utf8.elementsEqual((sample.expected ?? "a refusal").utf8), "\(sample.template) gave \(text)")
            } catch let error as Jinja.TemplateError {
                #expect(sample.expected == nil, "\(sample.template): \(error)")
            }
        }
    }
}
