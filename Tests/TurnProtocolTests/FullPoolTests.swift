import ChatCore
import Foundation
import FullWorkPool
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import Testing
import TurnProtocol

/// What turns make of a pool for long computation that is full.
@Suite(.timeLimit(.minutes(2))) struct FullPoolTests {
    @Test func itIsAnOutageThatPasses() async throws {
        #expect(Patience.isPassing(WorkPool.Full()))
        let full = await FullPool()
        let (text, tries) = try await full.delaying { pool, logger in
            try await Patience(logger: logger) { true }.callAsFunction {
                try await pool.run(bytes: FullPool.large) { _ in "done" }
            }
        }
        #expect(text == "done" && tries >= 3)
    }

    @Test func whoeverLosesTheDeliveryMeanwhileLetsGo() async {
        let full = await FullPool()
        await #expect(throws: Abandoned.fenced) {
            try await Patience(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) { false }.callAsFunction
            {
                try await full.pool.run(bytes: FullPool.large) { _ in }
            }
        }
    }

    /// Redis and the broker are away: neither is asked.
    @Test func aTurnIsNotAcceptedAndNothingIsReserved() async throws {
        let full = await FullPool()
        let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let redis = RedisPool(configuration: RedisConfiguration(port: 1), logger: silent)
        let acceptance = TurnAcceptance(
            keys: IdempotencyKeys(pool: redis), outstanding: OutstandingTurns(pool: redis), log: TurnLog(pool: redis),
            order: ConversationOrder(pool: redis),
            publisher: RabbitPublisher(
                configuration: try RabbitConfiguration(uri: "amqp://guest:guest@127.0.0.1:1/"),
                topology: Topology(queues: []), logger: silent), logger: silent, pool: full.pool)
        let limits = OutstandingTurns.Limits(turnsPerUser: 1, turnsPerTenant: 1, bytesPerTenant: 1 << 20)
        func error(message bytes: Int) async -> AcceptanceError? {
            do throws(AcceptanceError) {
                try await acceptance.accept(
                    .sample(acceptedAt: 1, message: String(repeating: "m", count: bytes)), limits: limits, now: 1)
                return nil
            } catch {
                return error
            }
        }
        guard case .busy? = await error(message: FullPool.large) else {
            Issue.record("it was accepted, or refused for another reason")
            return
        }
        // What is small needs no place there.
        guard case .store? = await error(message: 10) else {
            Issue.record("it was accepted, or refused for another reason")
            return
        }
    }
}
