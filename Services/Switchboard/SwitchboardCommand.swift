import ArgumentParser
import ServiceKit

/// The operator's command.
@main
struct SwitchboardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switchboard",
        abstract: "Operates a Switchboard cluster.",
        discussion: Settings.help,
        subcommands: [Migrate.self, Keys.self, Chat.self, Load.self, DeadLetters.self, SettingsCommand.self])
}
