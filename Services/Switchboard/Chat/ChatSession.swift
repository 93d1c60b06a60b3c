import ChatClient
import Foundation

/// A conversation at the terminal: reads lines, does what they ask for, shows answers as they come.
@MainActor
final class ChatSession {
    private static let prompt = "> "

    private struct Exchange {
        let message: String
        let answer: String
    }

    private let client: ChatClient
    private let screen: Screen
    private let keyboard: Keyboard
    private let terminal: Terminal
    private var editor = LineEditor()
    /// Every request is made of this one: the user, and what was set.
    private var template: ChatRequest
    private var exchanges: [Exchange] = []
    private var lastMessage: String?
    private var lastTurnFailed = false

    init(_ client: ChatClient, template: ChatRequest, terminal: Terminal) {
        self.client = client
        self.template = template
        self.terminal = terminal
        screen = Screen(terminal)
        keyboard = Keyboard(terminal)
    }

    /// - Returns: the process's exit status: 1 when the last turn of a script failed.
    func run() async -> Int32 {
        if screen.isScreen {
            let gateways = client.configuration.gateways
            let more = gateways.count > 1 ? " and \(gateways.count - 1) more" : ""
            screen.line("Switchboard at \(gateways[0])\(more). /help lists the commands, Ctrl-D leaves.", .dim)
        }
        while let line = await readLine() {
            let asked = ChatLine(line)
            if asked == .quit { break }
            await act(on: asked)
        }
        return lastTurnFailed && !screen.isScreen ? 1 : 0
    }

    // MARK: Lines

    private func readLine() async -> String? {
        screen.draw(prompt: ChatSession.prompt, editor)
        while let key = await keyboard.next() {
            switch editor.take(key) {
            case .none: break
            case .redraw: screen.draw(prompt: ChatSession.prompt, editor)
            case .submit(let text):
                screen.commit(prompt: ChatSession.prompt, text)
                return text
            case .interrupt:
                screen.line()
                screen.line("Ctrl-D or /quit leaves.", .dim)
                screen.draw(prompt: ChatSession.prompt, editor)
            case .endOfInput:
                if screen.isScreen { screen.line() }
                return nil
            case .clearScreen:
                screen.clear()
                screen.draw(prompt: ChatSession.prompt, editor)
            case .suspend:
                terminal.suspend()
                screen.draw(prompt: ChatSession.prompt, editor)
            }
        }
        // The input has ended; what stands there without a line feed counts as a line.
        guard !editor.text.isEmpty, case .submit(let text) = editor.take(.enter) else { return nil }
        return text
    }

    private func act(on line: ChatLine) async {
        switch line {
        case .nothing, .quit: break
        case .message(let message): await ask(message)
        case .again:
            guard let lastMessage else { return note("there is no message yet") }
            await ask(lastMessage)
        case .help: screen.line(ChatLine.commands)
        case .new:
            template.conversationID = nil
            exchanges = []
            note("a new conversation begins")
        case .conversation(let number):
            template.conversationID = number
            exchanges = []
            note("going on with conversation \(number)")
        case .system(let text):
            template.system = text
            note(text == nil ? "no system message from now on" : "the system message is set")
        case .set(let parameter): set(parameter)
        case .history:
            guard !exchanges.isEmpty else { return note("nothing was said in this conversation here") }
            for exchange in exchanges {
                screen.line(ChatSession.prompt + exchange.message, .bold)
                screen.line(exchange.answer)
            }
        case .show:
            screen.line("conversation  \(template.conversationID.map(String.init) ?? "none yet")")
            screen.line("user          \(template.userID)")
            screen.line("system        \(template.system ?? "none")")
            screen.line("model         \(template.model ?? "the server's")")
            screen.line("max_tokens    \(template.maxTokens.map(String.init) ?? "the server's")")
            screen.line("temperature   \(template.temperature.map { "\($0)" } ?? "the server's")")
            screen.line("top_p         \(template.topP.map { "\($0)" } ?? "the server's")")
            screen.line("seed          \(template.seed.map(String.init) ?? "the server's")")
        case .mistake(let reason): complain(reason)
        }
    }

    private func set(_ parameter: ChatLine.Parameter) {
        switch parameter {
        case .model(let value): template.model = value
        case .maxTokens(let value): template.maxTokens = value
        case .temperature(let value): template.temperature = value
        case .topP(let value): template.topP = value
        case .seed(let value): template.seed = value
        }
        note("set")
    }

    private func note(_ text: String) { if screen.isScreen { screen.line(text, .dim) } }

    private func complain(_ text: String) {
        if screen.isScreen { return screen.line(text, .red) }
        terminal.complain(text)
    }

    // MARK: Answers

    private func ask(_ message: String) async {
        var request = template
        request.message = message
        lastMessage = message
        let answer = Answer(client: client, screen: screen) { [screen, terminal] text in
            if screen.isScreen { screen.remark(text) } else { terminal.complain(text) }
        }
        screen.remark("…")
        let turn = Task { try await answer.run(request) }
        let watch = Task { await keyboard.interrupts { if answer.interrupt() { turn.cancel() } } }
        let result = await turn.result
        watch.cancel()
        await watch.value
        screen.endLine()

        lastTurnFailed = true
        switch result {
        case .success(let turn):
            if turn.end.status == "done" { lastTurnFailed = false }
            if turn.end.status != "failed" {
                template.conversationID = turn.end.conversationID
                exchanges.append(Exchange(message: message, answer: answer.text))
            }
            conclude(turn)
        case .failure where turn.isCancelled:
            note(answer.isBegun ? "left alone; it ends by itself when nobody has read it for a while" : "given up")
        case .failure(let error): complain(describe(error))
        }
    }

    private func conclude(_ turn: FollowedTurn) {
        let end = turn.end
        switch end.status {
        case "failed": complain(end.error?.message ?? "the turn failed")
        case "cancelled": note("stopped")
        default:
            var parts = ["\(end.usage.completionTokens) tokens"]
            if let time = end.processingTime { parts.append(String(format: "%.1f s", time)) }
            if end.finishReason == "length" { parts.append("cut at max_tokens") }
            if turn.reconnects > 0 {
                parts.append(turn.reconnects == 1 ? "reconnected once" : "reconnected \(turn.reconnects) times")
            }
            note(parts.joined(separator: ", "))
        }
    }

    private func describe(_ error: any Error) -> String {
        guard case ChatClientError.refused(let refusal) = error else { return "\(error)" }
        guard let wait = refusal.retryAfter else { return refusal.message }
        return "\(refusal.message) (in \(Int(wait / .seconds(1))) s)"
    }
}
