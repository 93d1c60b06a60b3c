import ChatCore
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import PostgresStore
import ServiceKit
import Synchronization

/// Who asks: the tenant of the key, the key itself, which limits are counted by, and what its holder was promised.
struct Principal: Sendable {
    let tenant: String
    let keyID: String
    var tier = Tier.standard
}

/// Finds and checks API keys. The directory is asked once a minute for a key that is in use; while it is down, keys that
/// were seen before go on working, so that chatting does not hang on one database.
final class Authenticator: Sendable {
    private struct Cached {
        let record: KeyRecord?
        let fetchedAt: ContinuousClock.Instant
    }

    private static let freshness: Duration = .seconds(60)
    /// An unknown id is asked for again soon: it may be a key made a moment ago.
    private static let freshnessOfUnknown: Duration = .seconds(2)
    private static let pauseAfterFailure: Duration = .seconds(5)
    private static let capacity = 10_000

    private let keys: KeyRepository
    private let logger: Logger
    private struct Cache {
        var known: [String: Cached] = [:]
        /// Apart from the others, so that whoever guesses ids drives no real key out.
        var unknown: [String: Cached] = [:]
    }

    private let cache = Mutex(Cache())

    init(keys: KeyRepository, logger: Logger) {
        self.keys = keys
        self.logger = logger
    }

    func principal(for header: String?) async throws(APIError) -> Principal {
        guard let header, let key = APIKey(header) else { throw .unauthorized }
        let record = try await record(of: key.id)
        // Compared for an unknown id too, so that the time tells nothing about which ids exist.
        let isRight = key.matches(hash: record?.hash ?? Array(repeating: 0, count: 32))
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        guard let record, isRight, record.isValid(at: now) else { throw .unauthorized }
        return Principal(tenant: record.tenant, keyID: record.id, tier: record.tier)
    }

    private func record(of id: String) async throws(APIError) -> KeyRecord? {
        let cached = cache.withLock { $0.known[id] ?? $0.unknown[id] }
        let freshness = cached?.record == nil ? Authenticator.freshnessOfUnknown : Authenticator.freshness
        if let cached, cached.fetchedAt + freshness > .now { return cached.record }
        do throws(DatabaseError) {
            let record = try await keys.find(id)
            remember(record, id, at: .now)
            return record
        } catch {
            if let record = cached?.record {
                // The next look waits a little: not every request of the minute pays for a directory that hangs.
                remember(record, id, at: .now - Authenticator.freshness + Authenticator.pauseAfterFailure)
                return record
            }
            logger.warning("a key could not be looked up", metadata: ["error": "\(error)"])
            throw .unavailable("the directory of keys")
        }
    }

    private func remember(_ record: KeyRecord?, _ id: String, at time: ContinuousClock.Instant) {
        cache.withLock { cache in
            // Emptying is crude but bounded, and keys in use refill at once.
            if cache.known.count >= Authenticator.capacity { cache.known.removeAll() }
            if cache.unknown.count >= Authenticator.capacity { cache.unknown.removeAll() }
            cache.known[id] = record.map { Cached(record: $0, fetchedAt: time) }
            cache.unknown[id] = record == nil ? Cached(record: nil, fetchedAt: time) : nil
        }
    }
}

/// The context of a request: who asks is known behind `AuthenticationMiddleware`.
struct GatewayRequestContext: RequestContext {
    typealias Source = RequestSource

    var coreContext: CoreRequestContextStorage
    var principal = Principal(tenant: "", keyID: "")
    let connection: ClientConnection
    /// When the request had arrived.
    let arrival: ContinuousClock.Instant

    init(source: RequestSource) {
        coreContext = .init(source: source)
        (connection, arrival) = (source.connection, source.arrival)
    }
}

/// Where a request came from.
struct RequestSource: RequestContextSource {
    let connection: ClientConnection
    let arrival: ContinuousClock.Instant
    let logger: Logger
}

struct AuthenticationMiddleware: RouterMiddleware {
    let authenticator: Authenticator
    static let header = HTTPField.Name("X-API-Key")

    func handle(
        _ request: Request, context: GatewayRequestContext,
        next: (Request, GatewayRequestContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        let header = AuthenticationMiddleware.header.flatMap { request.headers[$0] }
        context.principal = try await authenticator.principal(for: header)
        return try await next(request, context)
    }
}
