import ChatCore
import Testing

@testable import PostgresStore

/// How outcomes are cut into statements.
@Suite struct SettlementSizeTests {
    private static let mebibyte = 1 << 20
    private static let large = String(repeating: "a", count: mebibyte)

    private func outcome(
        _ number: Int, system: Int = 0, message: Int = 1, response: Int = 1, error: Int = 0
    ) throws -> TurnOutcome {
        // Copies share what was made once.
        func text(_ count: Int) -> String {
            count == Self.mebibyte ? Self.large : String(repeating: "a", count: count)
        }
        return TurnOutcome(
            turn: .test(number), conversation: try ConversationKey.test(), beginsConversation: false, kind: .chat,
            status: .done, finishReason: .stop, error: error > 0 ? text(error) : nil,
            system: system > 0 ? text(system) : nil, message: text(message), response: text(response), eventEnds: [],
            usage: .init(promptTokens: 1, completionTokens: 1), model: "m", seed: 1, acceptedAt: 1, firstTokenAt: nil,
            endedAt: 2, attempts: 1)
    }

    /// Whatever the bytes are in.
    @Test func onlySoManyBytesAreInAStatement() throws {
        let mebibyte = Self.mebibyte
        let many = [
            try (0..<128).map { try outcome($0, system: mebibyte) },
            try (0..<128).map { try outcome($0, message: mebibyte) },
            try (0..<128).map { try outcome($0, response: mebibyte) },
            try (0..<128).map { try outcome($0, error: mebibyte) },
        ]
        for outcomes in many {
            let statements = SettlementRepository.statements(of: outcomes)
            #expect(statements.count >= 8)
            #expect(statements.flatMap { $0.map(\.turn) } == outcomes.map(\.turn))
            for statement in statements {
                #expect(statement.reduce(0) { $0 + $1.storedBytes } <= SettlementRepository.maximumBatchBytes)
            }
        }
    }

    @Test func oneThatIsLargerIsAloneAndSmallOnesAreTogether() throws {
        let outcomes = try [
            outcome(0), outcome(1, message: SettlementRepository.maximumBatchBytes + 1), outcome(2), outcome(3),
        ]
        #expect(SettlementRepository.statements(of: outcomes).map(\.count) == [1, 1, 2])
        let small = try (0..<1200).map { try outcome($0) }
        #expect(SettlementRepository.statements(of: small).map(\.count) == [500, 500, 200])
        #expect(SettlementRepository.statements(of: []).isEmpty)
    }
}
