import Foundation
import ServiceHarness
import TestServers
import Testing

/// What probes and scrapers are told by every service of a cluster.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct OperatorPortTests {
    @Test(.timeLimit(.minutes(2))) func everyServiceSaysWhetherItCanWork() async throws {
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 20))
        let others = [cluster.gateway, cluster.orchestrator, cluster.worker, cluster.node]
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
        #expect(try await cluster.gateway.asked("/health").status == 200)
        try await probesReachAGatewayWhoseConnectionsAreTaken(cluster)
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

    private func probesReachAGatewayWhoseConnectionsAreTaken(_ cluster: Cluster) async throws {
        let port = try freePort()
        let gateway = try cluster.another(
            "gateway", settings: ["GATEWAY_PORT": "\(port)", "GATEWAY_MAX_CONNECTIONS": "10"])
        try await eventually("it answers", or: { gateway.log }) {
            try await OperatorClient(port: port).answer("/livez").status == 200
        }
        // Clients that connect and say nothing, more than it takes.
        let sockets = try (0..<20).map { _ in try ClientSocket(port: port) }
        for path in ["/livez", "/readyz", "/health", "/metrics"] {
            // A gateway that has just begun has not asked every component yet.
            try await eventually("\(path) answers", or: { gateway.log }) {
                try await gateway.asked(path).status == 200
            }
        }
        withExtendedLifetime(sockets) {}
        gateway.end(SIGKILL)
    }

    private func aTakenPortIsSaidByItsName(_ cluster: Cluster) async throws {
        let taken = try #require(cluster.worker.operatorPort)
        let second = try cluster.another("queue-worker", settings: ["WORKER_OPERATOR_PORT": "\(taken)"])
        try await eventually("it gives up", or: { second.log }) { second.reap() == .exited(1) }
        #expect(second.log.contains("WORKER_OPERATOR_PORT: nothing can listen on 127.0.0.1:\(taken)"))
    }
}

/// A connection to 127.0.0.1 on which nothing is said.
private final class ClientSocket {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw HarnessError("the gateway takes no connections") }
    }

    deinit { close(descriptor) }
}
