import Testing

@testable import RabbitQueue

@Suite struct ConfigurationTests {
    @Test func readsEveryPart() throws {
        let configuration = try RabbitConfiguration(uri: "amqp://us%65r:p%40%3Ass@broker.example:5673/team%2Fa")
        #expect(configuration.user == "user")
        #expect(configuration.password.value == "p@:ss")
        #expect(configuration.host == "broker.example")
        #expect(configuration.port == 5673)
        #expect(configuration.virtualHost == "team/a")
    }

    @Test(arguments: ["amqp://h", "amqp://h/", "amqp://h:5672"])
    func fillsInWhatIsMissing(uri: String) throws {
        let configuration = try RabbitConfiguration(uri: uri)
        #expect(configuration.user == "guest" && configuration.password.value == "guest")
        #expect(configuration.host == "h" && configuration.port == 5672 && configuration.virtualHost == "/")
    }

    @Test func readsAnAddressInBrackets() throws {
        let configuration = try RabbitConfiguration(uri: "amqp://[::1]:5673/v")
        #expect(configuration.host == "::1" && configuration.port == 5673)
    }

    @Test(arguments: [
        ("", "scheme"), ("http://h", "scheme"), ("amqps://h", "scheme"), ("amqp://", "host"), ("amqp://u:p@", "host"),
        ("amqp://h:0", "port"), ("amqp://h:65536", "port"), ("amqp://h:-1", "port"), ("amqp://h:", "port"),
        ("amqp://h:99999999999999999999", "port"), ("amqp://[::1", "host"), ("amqp://[::1]x", "host"),
        ("amqp://h o", "host"), ("amqp://h\u{0}", "host"), ("amqp://h/a/b", "vhost"), ("amqp://h/%", "vhost"),
        ("amqp://h/%zz", "vhost"), ("amqp://h/%FF", "vhost"), ("amqp://u%00:sesame@h", "user"),
        ("amqp://u:sesame%2@h", "password"), ("amqp://u:sesame%00@h", "password"), ("amqp://:sesame@h", "user"),
        ("amqp://h?heartbeat=5", "query"), ("amqp://" + String(repeating: "h", count: 3000), "uri"),
    ])
    func namesThePartThatIsWrong(uri: String, part: String) {
        #expect {
            _ = try RabbitConfiguration(uri: uri)
        } throws: { error in
            guard case RabbitError.badURI(let reason) = error else { return false }
            return reason.hasPrefix("\(part):") && !"\(error)".contains("sesame")
        }
    }

    @Test func neverPrintsThePassword() throws {
        let configuration = try RabbitConfiguration(uri: "amqp://user:sesame@h")
        var dumped = ""
        dump(configuration, to: &dumped)
        #expect(!"\(configuration) \(String(reflecting: configuration)) \(dumped)".contains("sesame"))
    }
}

@Suite struct MessageLimitTests {
    @Test func namesTheFieldThatBreaksALimit() throws {
        func field(_ change: (inout OutgoingMessage) -> Void) -> String? {
            var message = OutgoingMessage(queue: "q", body: [1, 2, 3], id: "1")
            change(&message)
            do throws(RabbitError) {
                try message.validate(maximumBodyBytes: 3)
                return nil
            } catch {
                guard case .invalid(let field, _) = error else { return "\(error)" }
                return field
            }
        }
        #expect(field { _ in } == nil)
        #expect(field { $0.queue = "" } == "queue")
        #expect(field { $0.queue = String(repeating: "é", count: 128) } == "queue")
        #expect(field { $0.id = String(repeating: "x", count: 256) } == "id")
        #expect(field { $0.body = [1, 2, 3, 4] } == "body")
        #expect(field { $0.headers = ["": "x"] } == "headers")
        #expect(field { $0.headers = [String(repeating: "n", count: 129): "x"] } == "headers")
        #expect(field { $0.headers = ["n": String(repeating: "v", count: 16 << 10)] } == "headers")
        #expect(field { $0.priority = 10 } == "priority")
        #expect(field { $0.expiration = .seconds(-1) } == "expiration")
        #expect(field { $0.expiration = .seconds(31 * 86_400) } == "expiration")
    }
}
