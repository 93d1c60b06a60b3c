import ArgumentParser
import Foundation
import PostgresStore

struct DeadLetters: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters",
        abstract: "Shows, replays and drops messages that no consumer will get again.",
        discussion: """
            A turn becomes a dead letter when nobody took it by its deadline, when its consumers died or failed with it \
            again and again, or when its message cannot be read. Its client has got a failure by then; a replay is a \
            new turn.
            """,
        subcommands: [List.self, Show.self, Replay.self, Drop.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists dead letters, newest first: id, time, queue, turn, tenant and user, reason.")

        @Option(help: "Only this tenant's.")
        var tenant: String?

        @Option(help: "Letters to list at most.")
        var limit = 100

        func validate() throws {
            guard (1...DeadLetterRepository.maximumList).contains(limit) else {
                throw ValidationError("--limit must be between 1 and \(DeadLetterRepository.maximumList)")
            }
        }

        func run() async throws {
            let letters = try await withDatabase {
                try await DeadLetterRepository(directory: $0.directory).list(tenant: tenant, limit: limit)
            }
            for letter in letters { print(letter.line) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a dead letter whole, its message too.")

        @Argument(help: "The letter's id, as `dead-letters list` shows it.")
        var id: Int64

        func run() async throws {
            guard
                let (letter, body) = try await withDatabase({
                    try await DeadLetterRepository(directory: $0.directory).find(id)
                })
            else { throw CommandFailure("there is no dead letter \(id)") }
            for (name, value) in letter.fields { print("\(name): \(value)") }
            print("")
            print(Self.readable(body))
        }

        /// JSON laid out, other text, other bytes in hexadecimal; in none of it anything that a terminal would obey.
        static func readable(_ body: [UInt8]) -> String {
            if let json = try? JSONSerialization.jsonObject(with: Data(body)),
                let text = try? JSONSerialization.data(withJSONObject: json, options: [.prettyPrinted, .sortedKeys])
            {
                return Printable.json(String(decoding: text, as: UTF8.self))
            }
            guard let text = String(validating: body, as: UTF8.self) else {
                return body.map { String(format: "%02x", $0) }.joined()
            }
            return Printable.text(text, keeping: ["\n", "\t"])
        }
    }

    struct Drop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Removes dead letters for good.")

        @Argument(help: "The letters' ids.")
        var ids: [Int64]

        func validate() throws {
            guard ids.count <= DeadLetterRepository.maximumList else {
                throw ValidationError("at most \(DeadLetterRepository.maximumList) at a time")
            }
        }

        func run() async throws {
            let dropped = try await withDatabase {
                try await DeadLetterRepository(directory: $0.directory).drop(ids)
            }
            for id in dropped { print("dropped \(id)") }
            let missing = Set(ids).subtracting(dropped).sorted()
            guard missing.isEmpty else {
                throw CommandFailure("there is no dead letter \(missing.map(String.init).joined(separator: ", "))")
            }
        }
    }
}

extension DeadLetterRecord {
    fileprivate var line: String {
        let who = owner.map { "\($0.tenant)/\($0.user)" } ?? "-"
        let state = replayedAt != nil ? "  replayed" : ""
        return [
            "\(id)", time(diedAt), Printable.text(queue),
            turn.map { "\($0)" } ?? Printable.text(messageID.isEmpty ? "-" : messageID),
            Printable.text(who), Printable.text(reason) + state,
        ].joined(separator: "  ")
    }

    fileprivate var fields: [(name: String, value: String)] {
        var fields = [
            ("id", "\(id)"), ("died", time(diedAt)), ("queue", Printable.text(queue)),
            ("reason", Printable.text(reason)),
            ("message", Printable.text(messageID)), ("bytes", "\(bytes)"),
        ]
        if let turn { fields.append(("turn", "\(turn)")) }
        if let owner {
            fields += [("tenant", Printable.text(owner.tenant)), ("user", Printable.text(owner.user))]
        }
        if let replayedAs { fields.append(("replayed as", "\(replayedAs)")) }
        if let replayedAt { fields.append(("replayed", time(replayedAt))) }
        return fields
    }

    private func time(_ milliseconds: Int64) -> String {
        Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(.iso8601)
    }
}
