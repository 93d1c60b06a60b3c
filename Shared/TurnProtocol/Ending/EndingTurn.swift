import ChatCore
import Foundation
import RedisStore
import ServiceKit

/// A turn on its way through the steps of its ending.
public struct EndingTurn: Sendable {
    public let turn: Turn
    /// May be exchanged for a newer one between two steps, when Redis lost the old one.
    public var lease: TurnLog.Lease
    /// What was proposed; from `EndingStep.record` on what is recorded.
    public internal(set) var outcome: TurnOutcome
    /// `outcome` as it travels: the recorded bytes themselves, so that a repeat is the same message.
    var body: [UInt8]
    let engineFirstToken: Double?

    /// - Throws: `EncodingError` when the proposal cannot be written (a number that JSON has no form for); `WorkPool.Full`,
    ///   `CancellationError`.
    public init(
        _ turn: Turn, under lease: TurnLog.Lease, proposal: TurnOutcome, engineFirstToken: Double? = nil,
        on pool: WorkPool = .shared
    ) async throws {
        self.turn = turn
        self.lease = lease
        self.engineFirstToken = engineFirstToken
        outcome = proposal
        body = try await pool.encode(proposal, bytes: proposal.wireBytes)
    }

    /// Goes on with an outcome that an earlier holder recorded: it stands, whatever this one would have done.
    /// - Throws: `DecodingError` for bytes that are none; `WorkPool.Full`, `CancellationError`.
    public init(_ turn: Turn, under lease: TurnLog.Lease, recorded: [UInt8]) async throws {
        self.turn = turn
        self.lease = lease
        engineFirstToken = nil
        outcome = try await WorkPool.shared.decode(TurnOutcome.self, from: recorded)
        body = recorded
    }

    mutating func take(stored: [UInt8]) async throws {
        guard stored != body else { return }
        outcome = try await WorkPool.shared.decode(TurnOutcome.self, from: stored)
        body = stored
    }

    public var end: TurnEnd { TurnEnd(outcome: outcome, engineFirstToken: engineFirstToken) }
}
