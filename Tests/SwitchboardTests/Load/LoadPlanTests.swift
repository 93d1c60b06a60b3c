import ArgumentParser
import Foundation
import ServiceKit
import Testing

@testable import switchboard

@Suite struct LoadPlanTests {
    private func plan(_ arguments: String...) throws -> LoadPlan {
        let settings = try Settings(environment: ["CHAT_API_KEY": "sk-test"])
        return try Load.parse(arguments).plan(settings)
    }

    @Test func aScenarioIsWhatTheOptionsDoNotSay() throws {
        let users = try plan("users", "--streams", "7")
        #expect(users.arrivals == .clients(7, over: .milliseconds(14)))
        #expect(users.thinking == .seconds(5) && users.users == 7 && users.mix.contains(.conversation))
        let long = try plan("long-running", "--reconnects", "25%", "--duration", "2m")
        #expect(long.reconnects == .share(0.25) && long.duration == .seconds(120) && long.maxTokens == 1000)
    }

    @Test func aRateIsAnOpenSystem() throws {
        let plan = try plan("--rate", "99.5", "--kind", "async")
        #expect(plan.arrivals == .rate(perSecond: 99.5) && plan.users == 100 && plan.kind == .async)
        #expect(plan.streams == LoadPlan.defaultOpen && plan.ramp == .zero)
    }

    @Test(arguments: [
        (["--gateway", "http://10.0.0.1:80"], "--gateway"), (["--gateway", "http://example.com"], "--gateway"),
        (["--gateway", "ftp://127.0.0.1"], "--gateway"), (["--streams", "0"], "--streams"),
        (["--streams", "100001"], "--streams"), (["--rate", "0"], "--rate"), (["--rate", "nan"], "--rate"),
        (["--duration", "0s"], "--duration"), (["--duration", "25h"], "--duration"), (["--users", "0"], "--users"),
        (["--max-tokens", "0"], "--max-tokens"), (["--reconnects", "101%"], "--reconnects"),
        (["--reconnects", "0s"], "--reconnects"), (["--prompts", "haiku"], "--prompts"),
        (["--prompts", "short=0"], "--prompts"), (["--prompts", "short=-1"], "--prompts"),
        (["--prompts", "short,short"], "--prompts"), (["--prompts", "file"], "--prompts"),
        (["--prompt-file", "/nonexistent"], "--prompt-file"), (["--ramp", "2h"], "--ramp"),
    ])
    func whatIsOutOfBoundsIsRefusedByName(_ arguments: [String], _ option: String) throws {
        let settings = try Settings(environment: ["CHAT_API_KEY": "sk-test"])
        let command = try Load.parse(arguments)
        do {
            _ = try command.plan(settings)
            Issue.record("\(arguments) was accepted")
        } catch let error as LoadError {
            guard case .invalid(let named, _) = error else { return }
            #expect(named == option)
        }
    }

    @Test func onlyThisMachineUnlessToldOtherwise() throws {
        for text in ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:8080/", "http://127.9.9.9"] {
            #expect(try GatewayAddress(text).isLoopback, "\(text)")
        }
        for text in ["http://127.0.0.1.example.com", "http://0.0.0.0", "http://[::2]", "http://128.0.0.1"] {
            #expect(try !GatewayAddress(text).isLoopback, "\(text)")
        }
        #expect(try plan("--gateway", "http://10.0.0.1:81", "--allow-remote").gateways[0].authority == "10.0.0.1:81")
    }
}
