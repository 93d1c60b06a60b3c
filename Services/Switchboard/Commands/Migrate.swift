import ArgumentParser
import PostgresStore

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Brings the schema of the directory and of every shard up to date.",
        discussion: "Safe to repeat, and safe to run twice at once.")

    func run() async throws {
        let applied = try await withDatabase { try await Migrations.migrate($0) }
        for migration in applied {
            print("\(migration.shard): \(migration.list) \(migration.version) \(migration.name)")
        }
        if applied.isEmpty { print("every schema is up to date") }
    }
}
