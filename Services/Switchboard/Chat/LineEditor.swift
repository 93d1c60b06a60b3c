/// A line that is being written, with the lines before it. Pure: keys go in, the text and what to do come out.
struct LineEditor {
    enum Action: Equatable {
        case none
        case redraw
        case submit(String)
        /// Ctrl-C on an empty line; a line with text is only cleared by it.
        case interrupt
        case endOfInput
        case clearScreen
        case suspend
    }

    static let maximumHistory = 1000
    /// Characters of a message, at most: beyond what a request may carry.
    static let maximumLength = 1 << 20

    private(set) var line: [Character] = []
    private(set) var cursor = 0
    private var history: [String] = []
    /// Where in the history the line shown comes from; the count stands for the line itself.
    private var place = 0
    /// What was being written before the history was looked at.
    private var draft: [Character] = []

    var text: String { String(line) }

    mutating func take(_ key: Key) -> Action {
        switch key {
        case .character(let character): insert([character])
        case .paste(let text): insert(Array(text))
        case .newline: insert(["\n"])
        case .enter: return submit()
        case .backspace: remove(cursor - 1..<cursor)
        case .delete: remove(cursor..<cursor + 1)
        case .left: cursor = max(0, cursor - 1)
        case .right: cursor = min(line.count, cursor + 1)
        case .wordLeft: cursor = startOfWord
        case .wordRight: cursor = endOfWord
        case .home: cursor = 0
        case .end: cursor = line.count
        case .up: recall(place - 1)
        case .down: recall(place + 1)
        case .killToEnd: remove(cursor..<line.count)
        case .killToStart: remove(0..<cursor)
        case .killWord: remove(startOfWord..<cursor)
        case .clearScreen: return .clearScreen
        case .suspend: return .suspend
        case .interrupt:
            guard !line.isEmpty else { return .interrupt }
            replace([])
            place = history.count
        case .endOfInput:
            guard !line.isEmpty else { return .endOfInput }
            remove(cursor..<cursor + 1)
        }
        return .redraw
    }

    private mutating func submit() -> Action {
        let text = text
        replace([])
        if !text.isEmpty, history.last != text {
            history.append(text)
            if history.count > LineEditor.maximumHistory { history.removeFirst() }
        }
        place = history.count
        return .submit(text)
    }

    private mutating func insert(_ characters: [Character]) {
        let characters = characters.prefix(LineEditor.maximumLength - line.count)
        line.insert(contentsOf: characters, at: cursor)
        cursor += characters.count
    }

    private mutating func remove(_ range: Range<Int>) {
        let range = range.clamped(to: 0..<line.count)
        line.removeSubrange(range)
        if cursor > range.lowerBound { cursor = max(range.lowerBound, cursor - range.count) }
    }

    private mutating func replace(_ characters: [Character]) {
        line = characters
        cursor = line.count
    }

    private mutating func recall(_ wanted: Int) {
        guard (0...history.count).contains(wanted), wanted != place else { return }
        if place == history.count { draft = line }
        place = wanted
        replace(place == history.count ? draft : Array(history[place]))
    }

    private var startOfWord: Int {
        var index = cursor
        while index > 0, line[index - 1].isWhitespace { index -= 1 }
        while index > 0, !line[index - 1].isWhitespace { index -= 1 }
        return index
    }

    private var endOfWord: Int {
        var index = cursor
        while index < line.count, line[index].isWhitespace { index += 1 }
        while index < line.count, !line[index].isWhitespace { index += 1 }
        return index
    }
}

extension LineEditor {
    /// The part of the line that is shown in `columns` columns, with the cursor in it, and the cursor's column there. A line
    /// feed shows as ⏎.
    func view(columns: Int) -> (text: String, cursor: Int) {
        let shown = line.map { $0 == "\n" ? "⏎" : $0 }
        let widths = shown.map { TextWidth.of($0) }
        // From the cursor to the left as far as fits, one column kept for the cursor itself.
        var start = cursor
        var used = 0
        while start > 0, used + widths[start - 1] < columns {
            start -= 1
            used += widths[start]
        }
        var end = cursor
        var total = used
        while end < shown.count, total + widths[end] < columns {
            total += widths[end]
            end += 1
        }
        return (String(shown[start..<end]), used)
    }
}
