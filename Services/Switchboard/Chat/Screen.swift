/// What the chat writes: streamed text with a passing remark behind it, lines, and the line that is being edited.
@MainActor
final class Screen {
    enum Style: String {
        case plain = ""
        case dim = "\u{1B}[2m"
        case bold = "\u{1B}[1m"
        case red = "\u{1B}[31m"
    }

    private let terminal: Terminal
    /// The cursor's column, as far as streamed text has taken it.
    private var column = 0
    /// Columns of the remark that stands behind the text, to be taken away before anything follows.
    private var remarkWidth = 0

    /// Only on a screen: a file gets the answers' text and nothing else.
    var isScreen: Bool { terminal.writesScreen }

    init(_ terminal: Terminal) { self.terminal = terminal }

    /// Streamed text; goes on where the last one ended.
    func write(_ text: String) {
        guard !text.isEmpty else { return }
        guard isScreen else {
            column = text.hasSuffix("\n") ? 0 : 1
            return terminal.write(text)
        }
        let text = TextWidth.harmless(text)
        terminal.write(erasedRemark() + text)
        let columns = terminal.columns
        for character in text {
            switch character {
            case "\n": column = 0
            case "\t": column = min(columns, (column / 8 + 1) * 8)
            default:
                let width = TextWidth.of(character)
                column = column + width > columns ? width : column + width
            }
        }
    }

    /// A remark behind the text, in place of the last one; nil takes it away.
    func remark(_ text: String?) {
        guard isScreen else { return }
        var output = erasedRemark()
        if let text {
            let space = column > 0 ? " " : ""
            let cut = TextWidth.cut(space + TextWidth.harmless(text), to: terminal.columns - column - 1)
            remarkWidth = TextWidth.of(cut)
            output += styled(cut, .dim)
        }
        terminal.write(output)
    }

    /// A line of its own.
    func line(_ text: String = "", _ style: Style = .plain) {
        let start = column > 0 ? "\n" : ""
        terminal.write(erasedRemark() + start + styled(isScreen ? TextWidth.harmless(text) : text, style) + "\n")
        column = 0
    }

    /// Ends the line that streamed text has begun.
    func endLine() {
        terminal.write(erasedRemark() + (column > 0 ? "\n" : ""))
        column = 0
    }

    func draw(prompt: String, _ editor: LineEditor) {
        guard isScreen else { return }
        let room = max(4, terminal.columns - TextWidth.of(prompt))
        let view = editor.view(columns: room)
        let back = TextWidth.of(view.text) - view.cursor
        terminal.write(
            "\r" + styled(prompt, .bold) + TextWidth.harmless(view.text) + "\u{1B}[K"
                + (back > 0 ? "\u{1B}[\(back)D" : ""))
    }

    /// The whole of a line that was sent, which the editor showed only in part, or with its line feeds hidden.
    func commit(prompt: String, _ text: String) {
        guard isScreen else { return }
        terminal.write("\r\u{1B}[K" + styled(prompt, .bold) + TextWidth.harmless(text) + "\n")
        column = 0
    }

    func clear() {
        guard isScreen else { return }
        terminal.write("\u{1B}[2J\u{1B}[H")
        column = 0
        remarkWidth = 0
    }

    private func styled(_ text: String, _ style: Style) -> String {
        isScreen && style != .plain && !text.isEmpty ? style.rawValue + text + "\u{1B}[0m" : text
    }

    private func erasedRemark() -> String {
        defer { remarkWidth = 0 }
        return remarkWidth > 0 ? "\u{1B}[\(remarkWidth)D\u{1B}[K" : ""
    }
}
