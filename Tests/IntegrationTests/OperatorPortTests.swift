import Foundation
import ServiceHarness
import TestServers
import Testing

/// What probes and scrapers are told by every service of a cluster.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct OperatorPortTests {
    @Test(.timeLimit(.minutes(2))) func everyServiceSaysWhetherItCanWork() async throws {
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 20))
        let others = [cluster.orchestrator, cluster.worker, cluster.node]
        func answers(_ path: String) async throws -> [HTTPAnswer] {
            var answers = [try await cluster.get(path, key: nil)]
            for process in others { answers.append(try await process.asked(path)) }
            return answers
        }
        try await eventually("all are ready", or: { cluster.logs }) {
            try await answers("/readyz").allSatisfy { $0.status == 200 && $0.text == "ok\n" }
        }
        for answer in try await answers("/metrics") {
            #expect(answer.status == 200)
            #expect(answer.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
            #expect(answer.text.contains("# HELP process_cpu_seconds_total "))
        }
        #expect(try await cluster.node.asked("/").status == 404)
        try await aTakenPortIsSaidByItsName(cluster)

        // A node that drains lives, takes nothing more, and says so until it is gone.
        let id = try await cluster.beginStream(["message": "Hi", "user_id": "ann", "max_tokens": 200])
        _ = try await cluster.stream(id) { $0.events.count >= 2 }
        cluster.node.signal(SIGTERM)
        try await eventually("the node drains") {
            let answer = try await cluster.node.asked("/readyz")
            return answer.status == 503 && answer.text == "the process drains\n"
        }
        #expect(try await cluster.node.asked("/livez").status == 200)

        // Without Redis nobody can work, and nobody is to be started again for it.
        try await cluster.redis.kill()
        for process in [cluster.orchestrator, cluster.worker] {
            try await eventually("\(process.name) is not ready", or: { process.log }) {
                let answer = try await process.asked("/readyz")
                return answer.status == 503 && answer.text.contains("redis")
            }
            #expect(try await process.asked("/livez").status == 200)
        }
        try await eventually("the gateway is not ready") {
            try await cluster.get("/readyz", key: nil).status == 503
        }
        #expect(try await cluster.get("/livez", key: nil).status == 200)
        await cluster.stop()
    }

    private func aTakenPortIsSaidByItsName(_ cluster: Cluster) async throws {
        let taken = try #require(cluster.worker.operatorPort)
        let second = try cluster.another("queue-worker", settings: ["WORKER_OPERATOR_PORT": "\(taken)"])
        try await eventually("it gives up", or: { second.log }) { second.reap() == .exited(1) }
        #expect(second.log.contains("WORKER_OPERATOR_PORT: nothing can listen on 127.0.0.1:\(taken)"))
    }
}
