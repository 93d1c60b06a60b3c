import ArgumentParser
import ServiceKit

struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings", abstract: "Prints every setting with its default, in the form of .env.example.")

    func run() { print(Settings.example, terminator: "") }
}
