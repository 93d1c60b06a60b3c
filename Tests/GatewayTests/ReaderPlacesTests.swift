import Synchronization
import Testing

@testable import gateway

@Suite struct ReaderPlacesTests {
    @Test func oneTurnIsFollowedByFew() {
        let places = ReaderPlaces(.init(all: 10_000, share: 100))
        #expect(places.refusal(ofKey: "a", isKnown: true, readers: 31) == nil)
        #expect(places.refusal(ofKey: "a", isKnown: true, readers: 32)?.status == .tooManyRequests)
    }

    @Test func oneKeyLeavesRoomForTheOthers() {
        var places = ReaderPlaces(.init(all: 20, share: 95))
        for _ in 0..<19 {
            #expect(places.refusal(ofKey: "a", isKnown: true, readers: 0) == nil)
            places.take("a", isKnown: true)
        }
        #expect(places.refusal(ofKey: "a", isKnown: true, readers: 0)?.status == .serviceUnavailable)
        #expect(places.refusal(ofKey: "b", isKnown: true, readers: 0) == nil)
        places.take("b", isKnown: true)
        #expect(places.refusal(ofKey: "c", isKnown: true, readers: 0) == .tooManyReaders)
        places.leave("a", isKnown: true)
        #expect(places.refusal(ofKey: "c", isKnown: true, readers: 0) == nil)
    }

    @Test func fewOfAKeysReadersLookForTurnsThatNobodyKnows() {
        var places = ReaderPlaces(.init(all: 100, share: 100))
        for _ in 0..<10 { places.take("a", isKnown: false) }
        #expect(places.refusal(ofKey: "a", isKnown: false, readers: 0) == .logLost)
        #expect(places.refusal(ofKey: "a", isKnown: true, readers: 0) == nil)
        places.found("a")
        #expect(places.refusal(ofKey: "a", isKnown: false, readers: 0) == nil)
        // Found readers leave as such; the others as what they are.
        places.leave("a", isKnown: true)
        for _ in 0..<9 { places.leave("a", isKnown: false) }
        for _ in 0..<10 {
            #expect(places.refusal(ofKey: "a", isKnown: false, readers: 0) == nil)
            places.take("a", isKnown: false)
        }
    }

    @Test func aShareIsAtLeastOneAndNeverMoreThanAll() {
        #expect(ReaderPlaces.Limits(all: 1, share: 1).ofKey == 1)
        #expect(ReaderPlaces.Limits(all: 10_800, share: 95).ofKey == 10_260)
        #expect(ReaderPlaces.Limits(all: 900_000, share: 100).ofKey == 900_000)
    }
}

@Suite struct ReadAllowanceTests {
    @Test func aBurstIsLetThroughAndAFloodIsNot() {
        let allowance = ReadAllowance(rate: 10)
        let start = ContinuousClock.now
        for _ in 0..<200 { #expect(allowance.take("a", at: start) == nil) }
        #expect(allowance.take("a", at: start) == .milliseconds(100))
        // Others have their own, and time brings more.
        #expect(allowance.take("b", at: start) == nil)
        for _ in 0..<10 { #expect(allowance.take("a", at: start + .seconds(1)) == nil) }
        #expect(allowance.take("a", at: start + .seconds(1)) != nil)
        #expect(ReadAllowance(rate: 0).take("a") == nil)
    }

    @Test func manyKeysAreNotRememberedForEver() {
        let allowance = ReadAllowance(rate: 1)
        let start = ContinuousClock.now
        for number in 0..<25_000 { #expect(allowance.take("\(number)", at: start + .milliseconds(number)) == nil) }
    }
}

@Suite struct ShardLookupsTests {
    /// Look-ups that do not come to an end before they are told to.
    private final class Held: Sendable {
        let lookups = ShardLookups()
        let begun = Mutex(0)
        let isReleased = Mutex(false)

        func hold() async throws {
            try await lookups.run(of: "a") { () async throws(APIError) in
                begun.withLock { $0 += 1 }
                while !isReleased.withLock({ $0 }) { await Task.yield() }
            }
        }

        func lookUp(of tenant: String) async throws {
            try await lookups.run(of: tenant) { () async throws(APIError) in }
        }
    }

    @Test func oneTenantsLookUpsAreFewAtATime() async throws {
        let held = Held()
        let holders = (0..<ShardLookups.ofTenant).map { _ in Task { try await held.hold() } }
        try await LiveServer.eventually { held.begun.withLock { $0 } == ShardLookups.ofTenant }
        await #expect(throws: APIError.tooManyLookups) { try await held.lookUp(of: "a") }
        try await held.lookUp(of: "b")
        held.isReleased.withLock { $0 = true }
        for holder in holders { try await holder.value }
        try await held.lookUp(of: "a")
    }
}
