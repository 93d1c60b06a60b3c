import ChatCore
import Foundation
import Logging
import RedisStore
import ServiceLifecycle
import Synchronization
import TestServers
import Testing

extension RedisConfiguration {
    init(_ endpoint: RedisEndpoint) {
        self.init(host: endpoint.host, port: endpoint.port, password: endpoint.password, poolSize: 2)
        // Beyond what a loaded machine needs: no test waits it out unless it sets its own.
        commandTimeout = .seconds(20)
        connectTimeout = .seconds(20)
    }
}

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Runs a service for the length of `body`.
func running<Result>(_ service: some Service, _ body: () async throws -> Result) async throws -> Result {
    let task = Task { try await service.run() }
    do {
        let result = try await body()
        task.cancel()
        try await task.value
        return result
    } catch {
        task.cancel()
        try await task.value
        throw error
    }
}

/// A connected pool on the Redis that all tests share.
func withPool<Result>(_ body: (RedisPool) async throws -> Result) async throws -> Result {
    try await withPool(RedisConfiguration(try await TestServers.redis()), body)
}

func withPool<Result>(
    _ configuration: RedisConfiguration, _ body: (RedisPool) async throws -> Result
) async throws -> Result {
    let pool = RedisPool(configuration: configuration, logger: quiet)
    return try await running(pool) {
        try await pool.waitUntilConnected()
        return try await body(pool)
    }
}

/// Waits until the condition holds; fails the test when it does not for a very long time.
func eventually(
    _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    let patience = ContinuousClock.now + .seconds(30)
    while try await !condition() {
        guard ContinuousClock.now < patience else {
            Issue.record("never: \(what)", sourceLocation: sourceLocation)
            return
        }
        try await Task.sleep(for: .milliseconds(2))
    }
}

/// Collects what handlers are given, on whatever thread.
final class Collector<Element: Sendable>: Sendable {
    private let storage = Mutex<[Element]>([])
    var all: [Element] { storage.withLock { $0 } }
    func add(_ element: Element) { storage.withLock { $0.append(element) } }
}

/// What a test tells another thread.
final class Flag: Sendable {
    private let value: Mutex<Bool>
    init(_ isSet: Bool) { value = Mutex(isSet) }
    var isSet: Bool {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}

extension Turn {
    /// A turn of a user of its own, so that tests that run together do not meet.
    static func sample(
        kind: Kind = .stream, conversation: ConversationKey? = nil, acceptedAt: Int64? = nil,
        lifetime: Int64 = 600_000, beginsConversation: Bool = true
    ) -> Turn {
        var random = SystemRandomNumberGenerator()
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let id = TurnID(milliseconds: UInt64(now), using: &random)
        let owner = UserKey(tenant: "acme", user: "user-\(id)")
        return Turn(
            id: id, conversation: conversation ?? ConversationKey(owner: owner, id: ConversationID(firstTurn: id)),
            beginsConversation: beginsConversation, kind: kind, message: "Hello", system: nil, context: [], model: nil,
            sampling: Sampling(maxTokens: 16, seed: 1), acceptedAt: acceptedAt ?? now,
            deadline: (acceptedAt ?? now) + lifetime)
    }

    var end: TurnEnd {
        TurnEnd(
            outcome: TurnOutcome(
                turn: id, conversation: conversation, beginsConversation: beginsConversation, kind: kind, status: .done,
                finishReason: .stop, error: nil, system: nil, message: message, response: "Hi",
                eventEnds: [2], usage: .init(promptTokens: 3, completionTokens: 1), model: "m", seed: 1,
                acceptedAt: acceptedAt, firstTokenAt: nil, endedAt: acceptedAt + 5, attempts: 1))
    }
}

extension TurnLog.Acquisition {
    var lease: TurnLog.Lease? { if case .acquired(let lease, _) = self { lease } else { nil } }
    var progress: TurnLog.Progress? { if case .acquired(_, let progress) = self { progress } else { nil } }
}

func tokens(_ texts: String...) -> [TurnLog.Token] {
    texts.enumerated().map { TurnLog.Token(id: Int32($0.offset), text: $0.element) }
}

/// The error with which an operation failed; nil when it did not.
func failure(of operation: @Sendable () async throws(RedisError) -> Void) async -> RedisError? {
    do {
        try await operation()
        return nil
    } catch { return error }
}

extension ContextCache.Entry {
    /// The entry's field in its conversation's hash.
    var field: RedisArgument {
        let digits = "\(position)"
        return .text(String(repeating: "0", count: 16 - digits.utf8.count) + digits + ":\(turn)")
    }
}
