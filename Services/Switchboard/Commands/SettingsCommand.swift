import ArgumentParser
import Foundation
import ServiceKit

struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings", abstract: "Prints every setting with its default, in the form of .env.example.",
        discussion: "Fails when the environment holds an unknown or malformed setting, and names it.")

    func run() throws {
        _ = try Settings(environment: ProcessInfo.processInfo.environment)
        print(Settings.example, terminator: "")
    }
}
