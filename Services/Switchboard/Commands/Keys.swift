import ArgumentParser
import ChatCore
import Foundation
import PostgresStore
import ServiceKit

struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes, lists, changes and revokes API keys.",
        subcommands: [Create.self, List.self, SetTier.self, Revoke.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a key and prints it; it cannot be shown again.")

        @Option(help: "What the key is for, in your words.")
        var name: String

        @Option(help: "The tenant whose data the key reaches.")
        var tenant = "default"

        @Option(help: "Days after which the key stops working; never when absent.")
        var days: Int?

        @Option(help: "How long a wait its turns are still accepted for under load: premium, standard or economy.")
        var tier = Tier.standard

        func validate() throws {
            for (option, text) in [("--name", name), ("--tenant", tenant)] {
                guard (1...UserKey.maximumNameBytes).contains(text.utf8.count) else {
                    throw ValidationError("\(option) must have 1 to \(UserKey.maximumNameBytes) bytes")
                }
            }
            if let days, !(1...36_500).contains(days) { throw ValidationError("--days must be between 1 and 36500") }
        }

        func run() async throws {
            let key = APIKey()
            let expiry = days.map { Int64((Date().timeIntervalSince1970 + Double($0) * 86_400) * 1000) }
            try await withDatabase { database in
                try await KeyRepository(directory: database.directory)
                    .create(id: key.id, tenant: tenant, name: name, hash: key.hash, expiresAt: expiry, tier: tier)
            }
            print(key.text)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists keys, without their secrets.")

        @Option(help: "Only this tenant's.")
        var tenant: String?

        func run() async throws {
            let keys = try await withDatabase { try await KeyRepository(directory: $0.directory).list(tenant: tenant) }
            let now = Int64(Date().timeIntervalSince1970 * 1000)
            print(["id", "state", "tier", "created", "expires", "tenant", "name"].joined(separator: "  "))
            for key in keys { print(List.line(key, at: now)) }
        }

        static func line(_ key: KeyRecord, at now: Int64) -> String {
            let state = key.revokedAt != nil ? "revoked" : key.isValid(at: now) ? "valid" : "expired"
            return [
                key.id, state, key.tier.rawValue, date(key.createdAt), key.expiresAt.map(date) ?? "never",
                Printable.text(key.tenant), Printable.text(key.name),
            ].joined(separator: "  ")
        }

        private static func date(_ milliseconds: Int64) -> String {
            Date(timeIntervalSince1970: Double(milliseconds) / 1000)
                .formatted(.iso8601.year().month().day())
        }
    }

    struct SetTier: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "tier", abstract: "Puts a key into another tier; gateways notice within a minute.")

        @OptionGroup var key: KeyID

        @Argument(help: "premium, standard or economy.")
        var tier: Tier

        func run() async throws {
            let id = key.id
            let found = try await withDatabase {
                try await KeyRepository(directory: $0.directory).setTier(tier, of: id)
            }
            guard found else { throw CommandFailure("there is no key \(id)") }
            print("\(id) is \(tier.rawValue) within a minute")
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends a key; gateways notice within a minute.")

        @OptionGroup var key: KeyID

        func run() async throws {
            let id = key.id
            let found = try await withDatabase { try await KeyRepository(directory: $0.directory).revoke(id) }
            guard found else { throw CommandFailure("there is no key \(id)") }
            print("\(id) is revoked; gateways notice within a minute")
        }
    }
}

/// Which key a command is about. Not the key itself: arguments show in the list of processes.
struct KeyID: ParsableArguments {
    @Argument(help: "The key's id, as `keys list` shows it.")
    var id: String

    func validate() throws {
        if let key = APIKey(id) {
            throw ValidationError(
                "that is a key, which the list of processes now shows; its id is \(key.id), and this command takes the id"
            )
        }
        guard id.utf8.count <= 64, id.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !id.hasPrefix("sb_") else {
            throw ValidationError("that is no key's id; `keys list` shows them")
        }
    }
}

extension Tier: ExpressibleByArgument {}
