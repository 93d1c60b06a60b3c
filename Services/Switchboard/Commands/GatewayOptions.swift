import ArgumentParser
import Foundation
import ServiceKit

/// Which gateways a client's command speaks to, and with which key.
struct GatewayOptions: ParsableArguments {
    @Option(help: "A gateway's URL; may be given several times. (default: CHAT_GATEWAYS)")
    var gateway: [String] = []

    @Option(help: "A file with the API key, read when CHAT_API_KEY is not set.")
    var keyFile = ".local/api-key"

    func gateways(_ settings: Settings) throws -> [String] {
        gateway.isEmpty ? try settings(Settings.chatGateways).split(separator: ",").map(String.init) : gateway
    }

    func key(_ settings: Settings) throws -> String {
        if let key = try settings.optional(Settings.chatAPIKey) { return key }
        guard let text = try? String(contentsOfFile: keyFile, encoding: .utf8) else {
            throw CommandFailure(
                "CHAT_API_KEY is not set, and \(keyFile) cannot be read; `switchboard keys create` makes a key")
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
