import Foundation
import ServiceKit
import Testing

@Suite struct SettingsTests {
    @Test func defaultsStandAndTextsBecomeValues() throws {
        let settings = try Settings(environment: [
            "REDIS_PORT": "7000", "DETACH_GRACE": "250ms", "PATH": "/bin", "MAX_JOBS": "4", "RABBITMQ_NODENAME": "x",
        ])
        #expect(try settings(Settings.redisPort) == 7000)
        #expect(try settings(Settings.detachGrace) == .milliseconds(250))
        #expect(try settings(Settings.redisHost) == "127.0.0.1")
        #expect(try settings.optional(Settings.redisPassword) == nil)
    }

    @Test func everyMistakeIsNamedAtOnce() {
        let environment = [
            "REDIS_PORT": "70000", "GATEWAY_PROT": "80", "TURN_DEADLINE": "5 minutes", "LOG_LEVEL": "loud",
            "MODEL_PAHT": "x", "REDIS_URL": "x",
        ]
        let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
        let text = error?.description ?? ""
        #expect(text.contains("REDIS_PORT=70000 is not between 1 and 65535"))
        #expect(text.contains("GATEWAY_PROT is not a setting; did you mean GATEWAY_PORT?"))
        #expect(text.contains("MODEL_PAHT is not a setting; did you mean MODEL_PATH?"))
        #expect(text.contains("REDIS_URL is not a setting"))
        #expect(text.contains("TURN_DEADLINE=5 minutes is not a duration"))
        #expect(text.contains("LOG_LEVEL=loud is none of trace, debug"))
    }

    @Test func aMissingRequiredSettingIsNamed() throws {
        let settings = try Settings(environment: ["MODEL_PATH": ""])
        let error = #expect(throws: SettingsError.self) { try settings(Settings.modelPath) }
        #expect(error?.description.contains("MODEL_PATH is not set") == true)
    }

    @Test func theExampleFileIsTheCatalogue() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = try String(contentsOf: root.appending(path: ".env.example"), encoding: .utf8)
        #expect(file == Settings.example)
    }

    /// Containers get what docker-compose.yml hands on by name: a setting that it forgets could not be set there.
    @Test func composeHandsEverySettingOn() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = try String(contentsOf: root.appending(path: "docker-compose.yml"), encoding: .utf8)
        let lines = file.split(separator: "\n", omittingEmptySubsequences: false)
        let handedOn = lines.drop { $0 != "x-settings: &settings" }.dropFirst().prefix { !$0.isEmpty }
            .map { $0.trimmingCharacters(in: CharacterSet(charactersIn: " :")) }
        // What the containers are told by docker-compose.yml itself or by first start, and what is none of theirs.
        let others: Set = [
            "MODEL_PATH", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "RABBITMQ_URI", "DATABASE_SHARDS",
            "DATABASE_REPLICAS", "GATEWAY_HOST", "GATEWAY_PORT", "OPERATOR_HOST", "GATEWAY_OPERATOR_PORT",
            "ORCHESTRATOR_OPERATOR_PORT",
            "WORKER_OPERATOR_PORT", "NODE_OPERATOR_PORT", "CHAT_GATEWAYS", "CHAT_API_KEY",
        ]
        let all = Settings.example.split(separator: "\n").compactMap { line -> String? in
            let name = line.hasPrefix("# ") ? line.dropFirst(2) : line
            guard let end = name.firstIndex(of: "="), name[..<end].allSatisfy({ $0.isUppercase || $0 == "_" })
            else { return nil }
            return String(name[..<end])
        }
        #expect(all.count > 50)
        #expect(handedOn.sorted() == all.filter { !others.contains($0) }.sorted())
    }
}
