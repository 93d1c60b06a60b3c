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
            for key in keys {
                let state = key.revokedAt != nil ? "revoked" : key.isValid(at: now) ? "valid" : "expired"
                print("\(key.id)  \(state)  \(key.tier.rawValue)  \(key.tenant)  \(key.name)")
            }
        }
    }

    struct SetTier: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "tier", abstract: "Puts a key into another tier; gateways notice within a minute.")

        @Argument(help: "The key's id, as `keys list` shows it, or the key itself.")
        var key: String

        @Argument(help: "premium, standard or economy.")
        var tier: Tier

        func run() async throws {
            let id = APIKey(key)?.id ?? key
            let found = try await withDatabase {
                try await KeyRepository(directory: $0.directory).setTier(tier, of: id)
            }
            guard found else { throw ValidationError("there is no key \(id)") }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends a key; gateways notice within a minute.")

        @Argument(help: "The key's id, as `keys list` shows it, or the key itself.")
        var key: String

        func run() async throws {
            let id = APIKey(key)?.id ?? key
            let found = try await withDatabase { try await KeyRepository(directory: $0.directory).revoke(id) }
            guard found else { throw ValidationError("there is no key \(id)") }
        }
    }
}

extension Tier: ExpressibleByArgument {}
