import Testing

@testable import switchboard

@Suite struct LineEditorTests {
    private func type(_ text: String, into editor: inout LineEditor) {
        for character in text { _ = editor.take(.character(character)) }
    }

    @Test func editsWhereTheCursorIs() {
        var editor = LineEditor()
        type("hello wrld", into: &editor)
        for _ in 0..<3 { _ = editor.take(.left) }
        type("o", into: &editor)
        #expect(editor.text == "hello world")
        _ = editor.take(.home)
        _ = editor.take(.delete)
        _ = editor.take(.wordRight)
        #expect(editor.cursor == 4)
        _ = editor.take(.killToEnd)
        #expect(editor.text == "ello")
        _ = editor.take(.paste("👩‍👩‍👧\nx"))
        _ = editor.take(.backspace)
        _ = editor.take(.backspace)
        _ = editor.take(.backspace)
        #expect(editor.text == "ello")
        _ = editor.take(.killWord)
        #expect(editor.text.isEmpty && editor.cursor == 0)
        for key in [Key.backspace, .delete, .left, .right, .up, .down, .killToStart] { _ = editor.take(key) }
        #expect(editor.text.isEmpty)
    }

    @Test func historyComesBackAndTheDraftIsKept() {
        var editor = LineEditor()
        for line in ["one", "two", "two"] {
            type(line, into: &editor)
            #expect(editor.take(.enter) == .submit(line))
        }
        type("draft", into: &editor)
        _ = editor.take(.up)
        #expect(editor.text == "two")
        _ = editor.take(.up)
        _ = editor.take(.up)
        #expect(editor.text == "one")
        _ = editor.take(.down)
        _ = editor.take(.down)
        #expect(editor.text == "draft")
    }

    @Test func interruptAndEndMeanSomethingOnAnEmptyLineOnly() {
        var editor = LineEditor()
        type("x", into: &editor)
        #expect(editor.take(.interrupt) == .redraw)
        #expect(editor.text.isEmpty)
        #expect(editor.take(.interrupt) == .interrupt)
        #expect(editor.take(.endOfInput) == .endOfInput)
    }

    @Test func theViewShowsTheCursorAndNeverMoreThanFits() {
        var editor = LineEditor()
        type(String(repeating: "東a", count: 100), into: &editor)
        for _ in 0...200 {
            let view = editor.view(columns: 20)
            #expect(TextWidth.of(view.text) <= 20 && (0..<20).contains(view.cursor))
            _ = editor.take(.left)
        }
        #expect(editor.cursor == 0 && editor.view(columns: 20).cursor == 0)
    }
}

@Suite struct TextWidthTests {
    @Test func nothingThatATerminalObeysGetsThrough() {
        #expect(TextWidth.harmless("a\u{1B}[2Jb\u{7}\r\n\tc\u{9B}31m\u{7F}") == "a[2Jb\n\tc31m")
    }

    @Test func wideAndJoinedCharacters() {
        #expect(TextWidth.of("aé東👩‍👩‍👧") == 6)
        #expect(TextWidth.of("e\u{301}") == 1)
        #expect(TextWidth.cut("東京都", to: 4) == "東…")
        #expect(TextWidth.cut("ab", to: 2) == "ab")
        #expect(TextWidth.cut("ab", to: 0) == "")
    }
}

@Suite struct ChatLineTests {
    @Test func messagesAndCommandsAreToldApart() {
        #expect(ChatLine("  ") == .nothing)
        #expect(ChatLine("hello /help") == .message("hello /help"))
        #expect(ChatLine("//etc is a folder") == .message("/etc is a folder"))
        #expect(ChatLine(" /new ") == .new)
        #expect(ChatLine("/system  Be kind. ") == .system("Be kind."))
        #expect(ChatLine("/system") == .system(nil))
        #expect(ChatLine("/set temperature 0.5") == .set(.temperature(0.5)))
        #expect(ChatLine("/set seed") == .set(.seed(nil)))
        #expect(ChatLine("/conversation 12") == .conversation(12))
        for line in [
            "/nonsense", "/set", "/set x 1", "/set seed -1", "/conversation", "/conversation x", "/new x", "/",
        ] {
            guard case .mistake = ChatLine(line) else {
                Issue.record("\(line) should not be understood")
                continue
            }
        }
    }
}
