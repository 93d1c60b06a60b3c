import Logging
import Testing

@testable import ServiceKit

@Suite struct ProbesTests {
    private static func breaker(_ name: String, isOpen: Bool) throws -> DependencyBreaker {
        var policy = CircuitBreaker.Policy()
        (policy.failures, policy.span) = (1, .zero)
        let breaker = DependencyBreaker(name, policy: policy, logger: Logger(label: "tests"))
        if isOpen { breaker.settle(try breaker.admit(), .failure, reason: "refused") }
        return breaker
    }

    @Test func aDependencyThatIsAwayIsNamedWithItsReason() throws {
        let away = try ProbesTests.breaker("redis", isOpen: true)
        #expect(Probes.closed(away)() == "redis is away: refused")
        #expect(Probes.closed(try ProbesTests.breaker("redis", isOpen: false))() == nil)
    }

    @Test func oneShardOfTwoIsEnough() throws {
        let (away, there) = (
            try ProbesTests.breaker("database.a", isOpen: true), try ProbesTests.breaker("database.b", isOpen: false)
        )
        #expect(Probes.anyClosed([away, there])() == nil)
        #expect(Probes.anyClosed([away, away])() == "database.a is away: refused; database.a is away: refused")
    }
}
