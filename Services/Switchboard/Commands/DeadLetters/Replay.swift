import ArgumentParser
import ChatCore
import Foundation
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

extension DeadLetters {
    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Runs a dead letter's turn again as a new turn, and prints its id.",
            discussion: """
                The new turn is asynchronous: GET /check-response/{id} has its answer. It has the old one's conversation, \
                seed and parameters. An outcome that a shard refused goes back to the shard's queue instead. Repeating a \
                replay that was cut short goes on with the same turn.
                """)

        @Argument(help: "The letter's id, as `dead-letters list` shows it.")
        var id: Int64

        func run() async throws {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            let printed = try await withDatabase { database in
                let letters = DeadLetterRepository(directory: database.directory)
                guard let (letter, body) = try await letters.find(id) else {
                    throw CommandFailure("there is no dead letter \(id)")
                }
                if letter.replayedAt != nil {
                    throw CommandFailure("it was replayed\(letter.replayedAs.map { " as \($0)" } ?? "")")
                }
                return try await withBroker(settings, database) { broker in
                    let replay = LetterReplay(broker: broker, letters: letters)
                    if letter.queue.hasPrefix(Topology.responseQueuePrefix) {
                        return try await replay.settle(letter, body)
                    }
                    return try await replay.run(letter, body)
                }
            }
            print(printed)
        }
    }
}

/// What a dead letter becomes.
struct LetterReplay {
    let broker: BrokerAccess
    let letters: DeadLetterRepository

    /// The letter's turn, begun anew.
    /// - Returns: the new turn's id.
    func run(_ letter: DeadLetterRecord, _ body: [UInt8]) async throws -> String {
        let dead: Turn
        do {
            dead = try Turn(message: body)
        } catch {
            throw CommandFailure("its message cannot be read, and so not replayed: \(error)")
        }
        let now = try await broker.clock.now()
        var random = SystemRandomNumberGenerator()
        let fresh = TurnID(milliseconds: UInt64(clamping: now), using: &random)
        guard let id = try await letters.beginReplay(letter.id, as: fresh) else {
            throw CommandFailure("there is no dead letter \(letter.id)")
        }
        let turn = Turn(replaying: dead, as: id, now: now, life: broker.deadline)
        try await broker.acceptance.accept(turn, limits: broker.limits, now: now)
        try await letters.finishReplay(letter.id)
        return "\(id)"
    }

    /// An outcome goes to its shard again: whatever refused it may have been mended since.
    func settle(_ letter: DeadLetterRecord, _ body: [UInt8]) async throws -> String {
        try await broker.acceptance.publisher.publish(
            OutgoingMessage(queue: letter.queue, body: body, id: letter.messageID))
        try await letters.finishReplay(letter.id)
        return letter.turn.map { "\($0)" } ?? letter.messageID
    }
}

extension Turn {
    /// The same turn once more, at the end of its conversation as it is now.
    ///
    /// Asynchronous, whatever it was: nobody reads it yet, and a stream without a reader is cancelled. The conversation
    /// was begun by the dead turn, if by none before.
    init(replaying dead: Turn, as id: TurnID, now: Int64, life: Duration) {
        self.init(
            id: id, conversation: dead.conversation, beginsConversation: false, kind: .batch, message: dead.message,
            system: dead.system, context: dead.context, model: dead.model, sampling: dead.sampling, acceptedAt: now,
            deadline: now + Int64(life / .milliseconds(1)), replayOf: dead.id, tier: dead.tier,
            degradation: dead.degradation, traceparent: dead.traceparent, tracestate: dead.tracestate)
    }
}
