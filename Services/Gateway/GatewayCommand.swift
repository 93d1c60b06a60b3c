import ArgumentParser
import ServiceKit

/// The HTTP edge: accepts turns and relays their logs.
@main
struct GatewayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gateway",
        abstract: "The HTTP edge of Switchboard: accepts turns and streams their tokens.",
        discussion: Settings.help)

    func run() async {
        await ServiceMain.run(
            "gateway", shutdown: { try $0(Settings.gatewayDrain) + GatewayConfiguration.closing }, wire: wireGateway)
    }
}
