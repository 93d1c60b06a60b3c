import ArgumentParser
import Foundation
import ServiceKit

/// Which gateways a client's command speaks to, and with which key.
struct GatewayOptions: ParsableArguments {
    @Option(
        help: """
            A gateway's URL; may be given several times. (default: CHAT_GATEWAYS, else the gateway of the cluster that runs \
            beside the key file, else http://127.0.0.1:8080)
            """)
    var gateway: [String] = []

    @Option(help: "A file with the API key, read when CHAT_API_KEY is not set.")
    var keyFile = ".local/api-key"

    func gateways(_ settings: Settings) throws -> [String] {
        guard gateway.isEmpty else { return gateway }
        if let named = try settings.optional(Settings.chatGateways) {
            return named.split(separator: ",").map(String.init)
        }
        let state = URL(fileURLWithPath: keyFile).deletingLastPathComponent()
        return [LocalCluster(state: state).gateway ?? "http://127.0.0.1:8080"]
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
