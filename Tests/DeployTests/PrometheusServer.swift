import Foundation
import ServiceHarness

/// `deploy/local/monitor` over a cluster, looking once a second, and what its Prometheus answers.
struct PrometheusServer: GatewayClient {
    let port: Int
    let key = ""
    let process: ServiceProcess

    /// - Parameter cluster: every process of it must have said its operator's port.
    init(over cluster: Cluster) throws {
        var ports = ["GATEWAY_PORT": cluster.port]
        ports["ORCHESTRATOR_OPERATOR_PORT"] = cluster.orchestrator.operatorPort
        ports["WORKER_OPERATOR_PORT"] = cluster.worker.operatorPort
        ports["NODE_OPERATOR_PORT"] = cluster.node.operatorPort
        try ports.map { "\($0.key)=\($0.value)\n" }.joined()
            .write(toFile: "\(cluster.folder)/cluster.env", atomically: true, encoding: .utf8)
        port = try freePort()
        process = try ServiceProcess(
            PrometheusFiles.repository.appending(path: "deploy/local/monitor").path,
            environment: [
                "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin",
                "CLUSTER_STATE": cluster.folder, "MONITOR_PORT": "\(port)", "MONITOR_INTERVAL": "1s",
            ], logPath: "\(cluster.folder)/monitor.log")
    }

    struct Answer<Payload: Decodable>: Decodable {
        let status: String
        let data: Payload?
        let error: String?
    }

    struct Sample: Decodable {
        let metric: [String: String]
        /// Time and value.
        let value: (Double, String)

        enum CodingKeys: CodingKey { case metric, value }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            metric = try container.decode([String: String].self, forKey: .metric)
            var pair = try container.nestedUnkeyedContainer(forKey: .value)
            value = (try pair.decode(Double.self), try pair.decode(String.self))
        }
    }

    struct Rule: Decodable {
        let name: String
        let health: String
        let lastError: String?
        /// Of an alert: inactive, pending or firing.
        let state: String?
    }

    /// The samples of an instant query.
    func query(_ expression: String) async throws -> [Sample] {
        struct Vector: Decodable { let result: [Sample] }
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~")
        let encoded = expression.addingPercentEncoding(withAllowedCharacters: allowed) ?? expression
        return try await asked("/api/v1/query?query=\(encoded)", Vector.self).result
    }

    func rules() async throws -> [Rule] {
        struct Groups: Decodable {
            struct Group: Decodable { let rules: [Rule] }
            let groups: [Group]
        }
        return try await asked("/api/v1/rules", Groups.self).groups.flatMap(\.rules)
    }

    func metricNames() async throws -> Set<String> {
        Set(try await asked("/api/v1/label/__name__/values", [String].self))
    }

    private func asked<Payload: Decodable>(_ path: String, _: Payload.Type) async throws -> Payload {
        let body = try await get(path, key: nil).body
        let answer = try JSONDecoder().decode(Answer<Payload>.self, from: Data(body))
        guard let data = answer.data else { throw HarnessError(answer.error ?? "no data") }
        return data
    }
}
