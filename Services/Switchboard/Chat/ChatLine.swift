/// What a line of the chat asks for: a message, or a command that begins with a slash. Pure.
enum ChatLine: Equatable {
    case nothing
    case message(String)
    case help
    case new
    case history
    case again
    case quit
    case show
    case system(String?)
    case conversation(Int64)
    case set(Parameter)
    /// Not understood, with the reason.
    case mistake(String)

    enum Parameter: Equatable {
        case model(String?)
        case maxTokens(Int?)
        case temperature(Double?)
        case topP(Double?)
        case seed(UInt64?)
    }

    static let commands = """
        /new                    begin a new conversation
        /again                  ask the last message again
        /history                show the conversation so far
        /conversation NUMBER    go on with a conversation of yours
        /system TEXT            the system message from now on; without TEXT none
        /set NAME VALUE         model, max_tokens, temperature, top_p or seed; without VALUE the server's choice
        /show                   the conversation's number and what is set
        /quit                   leave; so does Ctrl-D
        A line that begins with two slashes is a message that begins with one.
        Ctrl-C stops an answer, Ctrl-J begins a new line in a message, the arrows bring back earlier ones.
        """

    init(_ line: String) {
        let trimmed = line.trimming
        guard !trimmed.isEmpty else {
            self = .nothing
            return
        }
        guard trimmed.hasPrefix("/") else {
            self = .message(line)
            return
        }
        guard !trimmed.hasPrefix("//") else {
            self = .message(String(trimmed.dropFirst()))
            return
        }
        let parts = trimmed.dropFirst().split(separator: " ", maxSplits: 1).map { String($0) }
        self = ChatLine.command(parts.first ?? "", parts.count > 1 ? parts[1].trimming : nil)
    }

    private static func command(_ name: String, _ rest: String?) -> ChatLine {
        switch (name, rest) {
        case ("help", _), ("?", _): return .help
        case ("new", nil): return .new
        case ("history", nil): return .history
        case ("again", nil): return .again
        case ("show", nil): return .show
        case ("quit", nil), ("exit", nil): return .quit
        case ("system", let text): return .system(text)
        case ("conversation", let text?):
            guard let number = Int64(text), number > 0 else { return .mistake("\(text) is no conversation's number") }
            return .conversation(number)
        case ("conversation", nil): return .mistake("/conversation needs a number")
        case ("set", let text?): return parameter(text)
        case ("set", nil): return .mistake("/set needs a name: model, max_tokens, temperature, top_p or seed")
        case ("new", _), ("history", _), ("again", _), ("show", _), ("quit", _), ("exit", _):
            return .mistake("/\(name) takes nothing more")
        default: return .mistake("there is no /\(name); /help lists what there is")
        }
    }

    private static func parameter(_ text: String) -> ChatLine {
        let parts = text.split(separator: " ", maxSplits: 1).map { String($0) }
        let value = parts.count > 1 ? parts[1].trimming : nil
        func number<Number: LosslessStringConvertible>(_ make: (Number?) -> Parameter) -> ChatLine {
            guard let value else { return .set(make(nil)) }
            guard let number = Number(value) else { return .mistake("\(value) is no value for \(parts[0])") }
            return .set(make(number))
        }
        switch parts.first {
        case "model": return .set(.model(value))
        case "max_tokens": return number(Parameter.maxTokens)
        case "temperature": return number(Parameter.temperature)
        case "top_p": return number(Parameter.topP)
        case "seed": return number(Parameter.seed)
        default: return .mistake("\(parts.first ?? "") cannot be set; model, max_tokens, temperature, top_p, seed can")
        }
    }
}

extension StringProtocol {
    /// Without white space at both ends.
    fileprivate var trimming: String {
        var text = self[...]
        while text.first?.isWhitespace == true { text = text.dropFirst() }
        while text.last?.isWhitespace == true { text = text.dropLast() }
        return String(text)
    }
}
