import Foundation
import ServiceHarness
import Testing

@testable import ChatClient

/// `deploy/load/locustfile.py` as a client: what it asks again, without Locust.
@Suite struct LocustTests {
    /// What stands for Locust and for `requests`: as much of them as the file uses to begin a turn.
    private static let library = """
        import json, sys, time, types, urllib.error, urllib.request

        def module(name, **names):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__dict__.update(names)

        hook = types.SimpleNamespace(add_listener=lambda function: function)
        module("locust", HttpUser=object, between=lambda *_: None, constant=lambda *_: None, task=lambda function: function,
               events=types.SimpleNamespace(init_command_line_parser=hook, test_start=hook))
        module("requests", RequestException=OSError)
        names = {}
        exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), names)
        # It pauses before it asks again; here nobody waits.
        names["time"] = types.SimpleNamespace(sleep=lambda _: None, monotonic=time.monotonic, perf_counter=time.perf_counter)

        class Answer:
            def __init__(self, status, headers, body):
                self.status_code, self.headers, self.body, self.ok = status, headers, body, status < 400
            def json(self): return json.loads(self.body)
            def success(self): pass
            def failure(self, reason): pass
            def __enter__(self): return self
            def __exit__(self, *_): return False

        class Client:
            keys = []
            def post(self, url, json, headers, **_):
                self.keys.append(headers["Idempotency-Key"])
                request = urllib.request.Request(url, globals()["json"].dumps(json).encode(), headers, method="POST")
                try:
                    with urllib.request.urlopen(request) as answer:
                        return Answer(answer.status, answer.headers, answer.read())
                except urllib.error.HTTPError as error:
                    return Answer(error.code, error.headers, error.read())

        user = names["SwitchboardUser"]()
        user.client, user.gateways, user.gateway, user.name = Client(), sys.argv[2:], 0, "me"

        """

    private func run(_ steps: String, _ gateways: String...) async throws -> String {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "deploy/load/locustfile.py")
        return try await Program.run(
            "python3", ["-c", Self.library + steps, file.path] + gateways, environment: ["PATH": "/usr/bin:/bin"]
        ).text
    }

    private static let begin = """
        try:
            print(user.begin("hi", 3, None), len(Client.keys), len(set(Client.keys)))
        except names["TurnFailed"] as error:
            print(error, len(Client.keys))
        """

    @Test(arguments: [
        (502, "interrupted"), (502, "unavailable"), (502, "unknown"), (503, "unavailable"), (504, "timeout"),
        (504, "unknown"),
    ])
    func whatAFrontHasLostIsAskedForAgainUnderItsKey(status: Int, code: String) async throws {
        let gateway = try await FakeGateway(.losing(status, code: code))
        #expect(try await run(Self.begin, gateway.url) == "turn-2 2 1")
        #expect(gateway.posts == 2)
        try await gateway.stop()
    }

    @Test(arguments: [(502, "turn_failed"), (503, "overloaded"), (429, "rate_limited"), (400, "invalid")])
    func anAnswerIsNotAskedForAgain(status: Int, code: String) async throws {
        let gateway = try await FakeGateway(.losing(status, code: code))
        #expect(try await run(Self.begin, gateway.url) == "\(status) \(code) 1")
        #expect(gateway.posts == 1)
        try await gateway.stop()
    }

    /// Both clients repeat the same.
    @Test func itsListIsTheClients() async throws {
        let statuses = [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504]
        let codes = [
            "unknown", "unavailable", "interrupted", "timeout", "overloaded", "turn_failed", "rate_limited", "internal",
        ]
        let passing = statuses.flatMap { status in
            codes.filter { code in
                ChatClientError.Refusal(status: status, code: code, message: "", field: nil, retryAfter: nil)
                    .isPassing(forRepeatable: true)
            }.map { "\(status) \($0)" }
        }
        let listed = try await run("print(*sorted(f'{status} {code}' for status, code in names['PASSING']), sep='\\n')")
        #expect(listed.split(separator: "\n").map(String.init) == passing.sorted())
    }
}
