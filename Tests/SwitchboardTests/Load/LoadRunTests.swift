import Foundation
import Testing

@testable import switchboard

/// Whole runs against gateways that keep their word, and gateways that do not.
@Suite struct LoadRunTests {
    private static let turns = 20

    /// A run in which each client takes one turn.
    private func run(_ gateways: FakeGateway..., change: (inout LoadPlan) -> Void = { _ in }) async throws -> LoadReport
    {
        var plan = LoadPlan(
            gateways: try gateways.map { try GatewayAddress($0.url) }, apiKey: "key",
            arrivals: .clients(LoadRunTests.turns, over: .zero), streams: LoadRunTests.turns,
            duration: .milliseconds(100), drain: .seconds(60), thinking: .seconds(3600), users: 3, maxTokens: 8, seed: 1
        )
        change(&plan)
        let report = try await LoadRunner(plan: plan).run()
        for gateway in gateways { try await gateway.stop() }
        return report
    }

    @Test func anHonestGatewayPasses() async throws {
        let gateway = try await FakeGateway(.honest)
        let report = try await run(gateway)
        let record = report.record
        #expect(record.isClean && record.begun == 20 && record.done == 20 && record.tokens == 20 * FakeGateway.tokens)
        #expect(record.accept.count == 20 && record.firstToken.count == 20 && record.whole.count == 20)
        #expect(record.betweenTokens.count == 20 * 7 && gateway.posts == 20 && gateway.resumes == 0)
        #expect(record.serverTiming["total"]?.count == 20 && record.lost.sum == 0)
        #expect(report.table.contains("exactly once  yes") && report.table.contains("gateway: total"))
    }

    @Test(arguments: [FakeGateway.Manner.doubling, .skipping, .miscounting])
    func aGatewayThatLiesIsFound(_ manner: FakeGateway.Manner) async throws {
        let report = try await run(try await FakeGateway(manner))
        let record = report.record
        #expect(record.done == 20 && record.violations == 20 && !record.isClean)
        switch manner {
        case .doubling: #expect(record.doubled == 20)
        case .skipping: #expect(record.missing == 20)
        default: #expect(record.miscounted == 20)
        }
        #expect(record.tokens == 20 * FakeGateway.tokens && report.table.contains("exactly once  NO"))
    }

    @Test func aStreamOutlivesItsConnections() async throws {
        let (breaking, honest) = (try await FakeGateway(.breaking), try await FakeGateway(.honest))
        let record = try await run(breaking, honest).record
        #expect(record.isClean && record.done == 20 && record.tokens == 20 * FakeGateway.tokens)
        // Half of the clients began at the one that breaks; all went on at the other.
        #expect(
            record.lost.counts == ["it closed the connection": 10] && record.resume.count == 10 && honest.resumes == 10)
    }

    @Test func connectionsAreDroppedOnPurpose() async throws {
        let gateway = try await FakeGateway(.fallingSilent)
        let record = try await run(gateway) { $0.reconnects = .every(.milliseconds(300)) }.record
        #expect(record.isClean && record.done == 20 && record.lost.sum == 0)
        #expect(record.dropped >= 20 && gateway.resumes >= 20 && record.resume.count >= 20)
    }

    @Test func silenceIsALostConnection() async throws {
        let gateway = try await FakeGateway(.fallingSilent)
        let record = try await run(gateway) { $0.silence = .milliseconds(500) }.record
        #expect(record.isClean && record.done == 20 && gateway.resumes >= 20)
        // On a busy machine an honest answer may take as long.
        #expect(Array(record.lost.counts.keys) == ["it fell silent"] && record.lost.sum >= 20)
    }

    @Test func refusalsAreErrorsByTheirCode() async throws {
        let gateway = try await FakeGateway(.overloaded)
        let record = try await run(gateway).record
        #expect(record.errors.counts == ["503 overloaded": 20] && !record.isClean && record.done == 0)
        // Who was told to come again in an hour does not come at once.
        #expect(gateway.posts == 20)
    }

    @Test func whereNobodyListensEveryTurnIsGivenUp() async throws {
        // A port that was somebody's a moment ago may be another test's by now; this one is nobody's.
        var plan = LoadPlan(
            gateways: [try GatewayAddress("http://127.0.0.1:1")], apiKey: "key", arrivals: .clients(3, over: .zero),
            streams: 3,
            duration: .milliseconds(50), drain: .seconds(60), users: 3, maxTokens: 8, seed: 1)
        plan.patience = .milliseconds(300)
        let record = try await LoadRunner(plan: plan).run().record
        #expect(record.errors.counts == ["given up: nobody listens there": 3], "\(record.errors.counts)")
        #expect(record.lost.sum >= 3)
    }

    @Test func whatDoesNotEndIsCut() async throws {
        let gateway = try await FakeGateway(.fallingSilent)
        let record = try await run(gateway) { $0.drain = .zero }.record
        // Tokens had come; how many of the streams got them in that time is the machine's business.
        #expect(record.begun == 20 && record.cut + record.errors.sum == 20 && record.done == 0)
    }

    @Test func aRequestThatIsNeverAnsweredIsAFailure() async throws {
        let gateway = try await FakeGateway(.mute)
        let record = try await run(gateway) {
            $0.kind = .async
            $0.drain = .zero
        }.record
        #expect(record.errors.counts == ["no answer before the end": 20] && record.cut == 0 && !record.isClean)
    }

    @Test func whatAFrontHasLostIsAskedForAgain() async throws {
        let gateway = try await FakeGateway(.losing(502, code: "interrupted"))
        let record = try await run(gateway) { $0.arrivals = .clients(1, over: .zero) }.record
        #expect(record.isClean && record.done == 1 && record.lost.counts == ["502 interrupted": 1])
    }

    @Test func aLongReasonStaysKnown() {
        var reasons = LoadRecord.Reasons()
        let long = String(repeating: "r", count: 500)
        reasons.count(long)
        for index in 0..<100 { reasons.count("\(index)") }
        reasons.count(long)
        #expect(reasons.counts[String(long.prefix(LoadRecord.Reasons.maximumCharacters))] == 2)
        #expect(reasons.counts.count == LoadRecord.Reasons.maximum + 1)
    }

    @Test func anOpenSystemBeginsNoMoreThanMayBeOpen() async throws {
        let gateway = try await FakeGateway(.fallingSilent)
        let record = try await run(gateway) {
            $0.arrivals = .rate(perSecond: 1000)
            $0.streams = 5
            $0.drain = .zero
        }.record
        #expect(record.begun == 5 && record.notBegun > 0 && !record.isClean)
    }

    @Test func aConversationContinuesWhereItsFirstTurnEnded() async throws {
        let gateway = try await FakeGateway(.honest)
        let mix = try PromptMix("conversation")
        let record = try await run(gateway) {
            $0.mix = mix
            $0.thinking = .zero
            $0.arrivals = .rate(perSecond: 200)
            $0.streams = 1000
        }.record
        // Each client has two turns at least, and leaves after its last.
        #expect(record.isClean && record.done == record.begun && record.cut == 0, "\(record.errors) \(record.notBegun)")
        #expect(gateway.posts == record.done)
    }

    @Test func withoutCertificatesNothingIsTrusted() async throws {
        let gateway = try await FakeGateway(.honest)
        let secure = try GatewayAddress(gateway.url.replacing("http:", with: "https:"))
        await #expect(throws: LoadError.self) {
            _ = try await run(gateway) {
                $0.gateways = [secure]
                $0.trustedCertificates = "/nonexistent"
            }
        }
        // It does not speak TLS, and is not spoken to without.
        let record = try await run(try await FakeGateway(.honest)) {
            $0.gateways = [secure]
            $0.patience = .milliseconds(100)
        }.record
        #expect(record.done == 0 && record.errors.counts == ["given up: it does not prove over TLS who it is": 20])
    }

    @Test func theReportIsOneObject() async throws {
        let report = try await run(try await FakeGateway(.honest))
        let text = try report.json()
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(!text.contains("\n") && (object["turns"] as? [String: Any])?["done"] as? Int == 20)
        #expect((object["exactly_once"] as? [String: Any])?["violations"] as? Int == 0)
        let latencies = object["latency_seconds"] as? [String: [String: Any]]
        #expect(latencies?["first_token"]?["count"] as? Int == 20 && latencies?["server_timing_total"] != nil)
    }
}
