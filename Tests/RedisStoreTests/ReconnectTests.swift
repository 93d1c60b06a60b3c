import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct ReconnectTests {
    @Test func commandsInFlightFailTypedAndLaterOnesWork() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let inFlight = Task {
                await failure { () throws(RedisError) in _ = try await pool.send("BLPOP", "never", "0") }
            }
            try await eventually("a command is in flight") {
                try await pool.send("INFO", "clients").text?.contains("blocked_clients:1") == true
            }
            try await server.kill()
            #expect(await inFlight.value == .connectionLost)
            try await eventually("the loss is noticed") { !pool.isConnected }
            guard case .unavailable = await failure(of: { () throws(RedisError) in try await pool.ping() }) else {
                throw TestFailure("unavailable")
            }
            try await server.restart()
            try await pool.waitUntilConnected()
            #expect(try await pool.send("ECHO", "back").text == "back")
        }
        try await server.stop()
    }

    @Test func hangingServerTimesOutAndIsFoundAgain() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        var configuration = RedisConfiguration(server.endpoint)
        configuration.commandTimeout = .milliseconds(300)
        configuration.connectTimeout = .milliseconds(500)
        try await withPool(configuration) { pool in
            try await server.pause()
            #expect(await failure { () throws(RedisError) in try await pool.ping() } == .timedOut)
            try await server.resume()
            try await eventually("the pool is back") {
                await failure { () throws(RedisError) in try await pool.ping() } == nil
            }
        }
        try await server.stop()
    }

    @Test func aHangingServerOpensTheBreakerAndItsReturnClosesItWithoutCallers() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        var configuration = RedisConfiguration(server.endpoint)
        configuration.commandTimeout = .milliseconds(300)
        configuration.connectTimeout = .milliseconds(500)
        try await withPool(configuration) { pool in
            // Wrong commands are their callers' fault, however many.
            for _ in 0..<20 { _ = await failure { () throws(RedisError) in _ = try await pool.send("NONSENSE") } }
            #expect(pool.breaker.state == .closed)
            try await server.pause()
            try await eventually("failures in a row open it") {
                _ = await failure { () throws(RedisError) in try await pool.ping() }
                return pool.breaker.state == .open
            }
            let refused = await failure { () throws(RedisError) in try await pool.ping() }
            guard case .unavailable = refused else { throw TestFailure("refused otherwise: \(refused as Any)") }
            try await server.resume()
            try await eventually("closed by itself") { pool.breaker.state == .closed }
            try await pool.ping()
        }
        try await server.stop()
    }

    @Test func subscriberHearsThatHintsMayBeLost() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        let configuration = RedisConfiguration(server.endpoint)
        let events = Collector<RedisSubscriber.Event>()
        let subscriber = RedisSubscriber(
            configuration: configuration, channels: ["one", "two"], logger: quiet
        ) { events.add($0) }
        try await running(subscriber) {
            try await eventually("subscribed") { events.all == [.connected] }
            try await withPool(configuration) { pool in
                #expect(try await pool.send("PUBLISH", "two", .bytes([0, 255, 13, 10])).int == 1)
                try await eventually("heard") {
                    events.all == [.connected, .message(channel: "two", payload: [0, 255, 13, 10])]
                }
            }
            try await server.kill()
            try await eventually("the loss is told") { events.all.last == .disconnected }
            try await server.restart()
            try await eventually("subscribed again") { events.all.last == .connected }
            try await withPool(configuration) { pool in
                #expect(try await pool.send("PUBLISH", "one", "again").int == 1)
                try await eventually("heard again") {
                    events.all.last == .message(channel: "one", payload: Array("again".utf8))
                }
            }
        }
        try await server.stop()
    }
}
