import ArgumentParser
import ChatClient
import ChatCore
import Foundation
import ServiceKit

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A chat in the terminal.",
        discussion: """
            Answers come token by token. When the gateway dies under an answer, the chat goes on at the next one, where it \
            was. From a pipe every line is a message, and only the answers are written.

            The API key is taken from CHAT_API_KEY or from the file that --key-file names: an argument would show in \
            the list of processes.
            """)

    @OptionGroup var access: GatewayOptions

    @Option(help: "The user that the conversation belongs to.")
    var user = NSUserName()

    @Option(help: "Goes on with this conversation.")
    var conversation: Int64?

    @Option(help: "The system message.")
    var system: String?

    @Option(help: "The model.")
    var model: String?

    @Option(help: "Tokens of an answer, at most.")
    var maxTokens: Int?

    @Option(help: "How much chance there is in the choice of tokens.")
    var temperature: Double?

    @Option(help: "The same seed gives the same answer.")
    var seed: UInt64?

    func validate() throws {
        guard (1...UserKey.maximumNameBytes).contains(user.utf8.count) else {
            throw ValidationError("--user must have 1 to \(UserKey.maximumNameBytes) bytes")
        }
    }

    @MainActor
    func run() async throws {
        let settings = try Settings(environment: ProcessInfo.processInfo.environment)
        var template = ChatRequest(message: "", userID: user)
        template.conversationID = conversation
        template.system = system
        template.model = model
        template.maxTokens = maxTokens
        template.temperature = temperature
        template.seed = seed
        let (gateways, key) = (try access.gateways(settings), try access.key(settings))
        let http = ChatClient.http()
        let status: Int32
        do {
            let client = try ChatClient(.init(gateways: gateways, apiKey: key), http: http)
            signal(SIGPIPE, SIG_IGN)
            let terminal = Terminal()
            terminal.start()
            defer { terminal.restore() }
            status = await ChatSession(client, template: template, terminal: terminal).run()
        } catch {
            try? await http.shutdown()
            throw error
        }
        try await http.shutdown()
        if status != 0 { throw ExitCode(status) }
    }
}
