import AsyncHTTPClient
import Foundation
import NIOCore
import NIOPosix
import ServiceHarness
import Testing

/// What nginx takes when everybody asks for as much as there may be, beside the memory that it is given.
struct WeightTests {
    private static let memory = 96  // MiB

    /// Two lines of headers as long as they may be.
    private static let headers = (0..<4).map { ("X-Padding-\($0)", String(repeating: "h", count: 3700)) }

    /// A body that is still kept in memory.
    private static let body = String(repeating: "b", count: 16 << 10)

    /// More than nginx and the sockets take from a gateway before the client reads.
    private static let answer = String(repeating: "a", count: 16 << 20)

    @Test(.timeLimit(.minutes(2))) func theLargestRequestsThatAreTakenFit() async throws {
        let gateway = try await ScriptedGateway { request in
            if request.path.hasPrefix("/stream/") { return .stream }
            return request.method == "POST" ? .wait : .answer(200, WeightTests.answer)
        }
        let settings = ["NGINX_MEMORY_MIB": "\(Self.memory)", "NGINX_RATE": "0", "NGINX_CONNECTIONS": "0"]
        try await Front.with([gateway], settings) { front in
            func oneToEach(_ configuration: inout HTTPClient.Configuration) {
                configuration.httpVersion = .http1Only
                configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 4096
            }
            try await front.withSecureClient(oneToEach) { client in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<60 {
                        group.addTask {
                            _ = try? await client.execute("POST", "/chat", headers: Self.headers, body: Self.body)
                        }
                    }
                    try await eventually("the messages are at the gateway") { gateway.requests.count == 60 }
                    var open: [HTTPClientResponse] = []
                    for number in 0..<30 {
                        open.append(
                            try await client.execute("GET", "/check-response/\(number)", headers: Self.headers))
                    }
                    #expect(open.allSatisfy { $0.status == .ok })
                    var refusal: HTTPClientResponse?
                    while refusal == nil, open.count < 2000 {
                        let stream = try await client.execute("GET", "/stream/\(open.count)", headers: Self.headers)
                        if stream.status == .ok { open.append(stream) } else { refusal = stream }
                    }
                    #expect(refusal?.status == .tooManyRequests && refusal?.headers["Retry-After"] == ["1"])
                    // 80 % of the memory, less 32 MiB, three quarters of it for requests of 128 KiB.
                    #expect((200...300).contains(open.count + 60), "\(open.count + 60)")
                    let peak = try front.peakMemory()
                    #expect(peak > 16 << 20 && peak <= (Self.memory << 20) / 5 * 4, "\(peak >> 20) MiB")
                    group.cancelAll()
                }
                try await eventually("the places are free again") { try await front.get("/health").status == 200 }
            }
        }
    }

    @Test func connectionsWithoutARequestMakeRoom() async throws {
        let gateway = try await ScriptedGateway()
        let settings = ["NGINX_MEMORY_MIB": "64", "NGINX_RATE": "0", "NGINX_CONNECTIONS": "0"]
        try await Front.with([gateway], settings) { front in
            // Who says nothing is the first to go.
            let silent = ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            var channels: [any Channel] = []
            for _ in 0..<1000 {
                channels.append(try await silent.connect(host: "127.0.0.1", port: front.port).get())
                if channels.count % 100 == 0 { #expect(try await front.get("/health").status == 200) }
            }
            let peak = try front.peakMemory()
            #expect(peak <= (64 << 20) / 5 * 4, "\(peak >> 20) MiB")
            for channel in channels { try? await channel.close() }
        }
    }
}
