import Testing

@testable import switchboard

/// Arrivals, prompts and reconnections: what is drawn by chance.
@Suite struct LoadChoicesTests {
    private var random = SplitMix(seed: 7)

    @Test mutating func clientsArriveEvenlyAndOnce() {
        var arrivals = Arrivals(.clients(5, over: .seconds(10)), using: &random)
        var moments: [Duration] = []
        // Asked late, it gives all that were due, at the moments when they were.
        while let due = arrivals.take(at: .seconds(5), using: &random) { moments.append(due) }
        #expect(moments == [.zero, .seconds(2), .seconds(4)] && arrivals.next == .seconds(6))
        while let due = arrivals.take(at: .seconds(60), using: &random) { moments.append(due) }
        #expect(moments.count == 5 && arrivals.next == nil)
    }

    @Test mutating func aRateIsAPoissonProcess() {
        var arrivals = Arrivals(.rate(perSecond: 100), using: &random)
        var gaps: [Double] = []
        var last = Duration.zero
        for _ in 0..<20_000 {
            guard let next = arrivals.next, let due = arrivals.take(at: next, using: &random) else {
                Issue.record("it dried up")
                return
            }
            gaps.append((due - last) / .seconds(1))
            last = due
        }
        let mean = gaps.reduce(0, +) / Double(gaps.count)
        let deviation = (gaps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(gaps.count)).squareRoot()
        // An exponential distribution's deviation is its mean.
        #expect(abs(mean - 0.01) < 0.0003 && abs(deviation - 0.01) < 0.0005)
    }

    @Test mutating func theMixIsKept() throws {
        let mix = try PromptMix("short=70,long=20,conversation=10")
        var counts: [PromptMix.Kind: Int] = [:]
        for _ in 0..<10_000 { counts[mix.choose(using: &random), default: 0] += 1 }
        #expect(abs(counts[.short, default: 0] - 7000) < 200 && abs(counts[.long, default: 0] - 2000) < 200)
        #expect(counts[.shared] == nil && counts[.file] == nil)
    }

    @Test mutating func promptsAreOfTheirKindAndNoTwoAlike() throws {
        var source = PromptSource(try PromptMix("shared"), using: &random)
        let shared = (0..<50).map { _ in source.next(using: &random) }
        #expect(Set(shared.map(\.system)).count == 1 && Set(shared.flatMap(\.messages)).count == 50)
        source = PromptSource(try PromptMix("conversation"), using: &random)
        #expect((0..<50).map { _ in source.next(using: &random).messages.count }.allSatisfy { (2...5).contains($0) })
        source = PromptSource(.file, lines: ["a", "b"], using: &random)
        #expect((0..<3).map { _ in source.next(using: &random).messages } == [["a"], ["b"], ["a"]])
    }

    @Test mutating func reconnectsAreAShareOrAnInterval() {
        let share = ReconnectPlan.share(0.25)
        let tokens = (0..<4000).map { _ in share.token(of: 10, using: &random) }
        #expect(abs(tokens.count { $0 != nil } - 1000) < 120)
        #expect(tokens.compactMap(\.self).allSatisfy { (1..<10).contains($0) } && share.life(using: &random) == nil)
        let interval = ReconnectPlan.every(.seconds(30))
        for _ in 0..<100 {
            guard let life = interval.life(using: &random) else {
                Issue.record("it stays for good")
                return
            }
            #expect((.seconds(15)...(.seconds(45))).contains(life))
        }
        #expect(ReconnectPlan("0%") == .never && ReconnectPlan("30s") == .every(.seconds(30)))
        #expect(ReconnectPlan("often") == nil && ReconnectPlan("-1%") == nil)
    }

    @Test mutating func theSameSeedSaysTheSame() throws {
        let mix = try PromptMix("short,long,conversation")
        func said(_ seed: UInt64) -> [[String]] {
            var random = SplitMix(seed: seed)
            var source = PromptSource(mix, using: &random)
            return (0..<20).map { _ in source.next(using: &random).messages }
        }
        #expect(said(1) == said(1) && said(1) != said(2))
    }
}
