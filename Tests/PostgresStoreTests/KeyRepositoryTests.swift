import PostgresStore
import Testing

@Suite(.timeLimit(.minutes(2))) struct KeyRepositoryTests {
    @Test func keysAreFoundListedAndRevoked() async throws {
        try await withDatabase { database in
            let keys = KeyRepository(directory: database.directory)
            let hash = [UInt8](0..<32)
            try await keys.create(id: "k1", tenant: "acme", name: "laptop", hash: hash)
            try await keys.create(
                id: "k2", tenant: "acme", name: "server", hash: hash, expiresAt: testEpoch, isAdmin: true,
                tier: .premium)
            try await keys.create(id: "k3", tenant: "umbrella", name: "", hash: hash)

            let first = try #require(try await keys.find("k1"))
            #expect(first.tenant == "acme" && first.name == "laptop" && first.hash == hash && !first.isAdmin)
            #expect(first.tier == .standard)
            #expect(first.isValid(at: .max) && first.createdAt > 0)
            let second = try #require(try await keys.find("k2"))
            #expect(second.tier == .premium)
            #expect(try await keys.setTier(.economy, of: "k2"))
            #expect(try await keys.find("k2")?.tier == .economy)
            #expect(try await keys.setTier(.economy, of: "k4") == false)
            #expect(second.isAdmin && second.isValid(at: testEpoch - 1) && !second.isValid(at: testEpoch))
            #expect(try await keys.find("k4") == nil)
            #expect(try await keys.find("k1\0") == nil)
            #expect(try await keys.find("k1' OR true --") == nil)

            #expect(try await keys.list(tenant: "acme").map(\.id) == ["k2", "k1"])
            #expect(Set(try await keys.list().map(\.id)) == ["k1", "k2", "k3"])

            #expect(try await keys.revoke("k1"))
            let revoked = try #require(try await keys.find("k1")?.revokedAt)
            #expect(try await keys.find("k1")?.isValid(at: 0) == false)
            #expect(try await keys.revoke("k1"))
            #expect(try await keys.find("k1")?.revokedAt == revoked)
            #expect(try await keys.revoke("k4") == false)

            #expect(
                await failure { try await keys.create(id: "k1", tenant: "x", name: "", hash: hash) }?.sqlState
                    == "23505")
            #expect(
                await failure { try await keys.create(id: "k5", tenant: "x", name: "", hash: [1]) }?.sqlState == "23514"
            )
        }
    }
}
