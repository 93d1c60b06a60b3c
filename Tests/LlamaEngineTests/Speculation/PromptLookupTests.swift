import SeededRandom
import Testing

@testable import LlamaEngine

@Suite struct PromptLookupTests {
    private static func text(_ count: Int, alphabet: Int32, seed: UInt64) -> [Int32] {
        var random = SeededGenerator(seed: seed)
        return (0..<count).map { _ in Int32.random(in: 0..<alphabet, using: &random) }
    }

    /// The longest of 4, 3, 2 tokens at the end that stood earlier with something after them.
    private static func longestRepeated(_ tokens: [Int32]) -> Int? {
        PromptLookup.sizes.first { size in
            tokens.count > size
                && (size..<tokens.count).contains { tokens[$0 - size..<$0] == tokens[(tokens.count - size)...] }
        }
    }

    @Test func everyMatchIsOneAndNearlyEveryRepetitionIsFound() {
        var found = 0, repeated = 0
        for alphabet in [2, 10, 60, 1000] as [Int32] {
            let whole = Self.text(700, alphabet: alphabet, seed: UInt64(alphabet))
            var lookup = PromptLookup()
            for count in 1...whole.count {
                let tokens = Array(whole[..<count])
                let match = lookup.match(tokens)
                if let match {
                    #expect(match.length >= 1 && match.source < count)
                    #expect(
                        tokens[match.source - match.length..<match.source].elementsEqual(tokens.suffix(match.length)))
                }
                if let size = Self.longestRepeated(tokens) {
                    repeated += 1
                    if let match, match.length >= size { found += 1 }
                } else {
                    #expect(match.map { $0.length < 2 } ?? true)
                }
            }
        }
        // Some entries are lost to others with the same slot.
        #expect(repeated > 1200)
        #expect(Double(found) > 0.85 * Double(repeated))
    }

    @Test func aQuotationIsFollowedToItsEnd() throws {
        let source = Self.text(300, alphabet: 40_000, seed: 3)
        var tokens = source + [1, 2, 3] + source[..<5]
        var lookup = PromptLookup()
        for next in 5..<290 {
            let found = lookup.match(tokens)
            let match = try #require(found)
            #expect(PromptLookup.continuation(of: match, in: tokens, count: 8) == Array(source[next..<next + 8]))
            tokens.append(source[next])
        }
    }

    /// Words that stand in two places, the later with another continuation: the place that is being quoted wins.
    @Test func aQuotationGoesOnWhereItWas() throws {
        let phrase: [Int32] = [50, 51, 52, 53, 54, 55]
        let first = Self.text(30, alphabet: 40, seed: 1).map { $0 + 100 } + phrase + [7, 8, 9]
        let text = first + [200, 201] + phrase + [77, 78, 79, 202] + first.prefix(10)
        var lookup = PromptLookup()
        var tokens = text
        for next in 10..<first.count {
            let found = lookup.match(tokens)
            let match = try #require(found)
            #expect(tokens[match.source] == first[next])
            tokens.append(first[next])
        }
    }

    @Test func aRepetitionIsContinuedBeyondTheEndOfTheText() throws {
        var lookup = PromptLookup()
        let tokens: [Int32] = [9, 1, 2, 3, 1, 2, 3, 1, 2]
        let found = lookup.match(tokens)
        let match = try #require(found)
        #expect(PromptLookup.continuation(of: match, in: tokens, count: 7) == [3, 1, 2, 3, 1, 2, 3])
        var one = PromptLookup()
        let letters = [Int32](repeating: 5, count: 4)
        let repeated = one.match(letters)
        let letter = try #require(repeated)
        #expect(PromptLookup.continuation(of: letter, in: letters, count: 3) == [5, 5, 5])
    }

    @Test func nothingIsGuessedWithoutARepetition() {
        var lookup = PromptLookup()
        for count in 0...40 {
            let match = lookup.match(Array(0..<Int32(count)))
            #expect(match == nil)
        }
    }

    @Test func memoryIsBoundedAndHostileTextsTakeLinearTime() {
        for alphabet in [1, 2, 50_000] as [Int32] {
            var lookup = PromptLookup()
            let whole = Self.text(40_000, alphabet: alphabet, seed: 5)
            var tokens: [Int32] = []
            tokens.reserveCapacity(whole.count)
            for token in whole {
                tokens.append(token)
                _ = lookup.match(tokens)
            }
            #expect(lookup.byteCount <= 3 * 4 * PromptLookup.maximumEntries)
            // What came last is still found.
            let again = tokens + tokens.suffix(200).prefix(100)
            let match = lookup.match(again)
            #expect(match.map { $0.length > 2 } == true)
        }
    }
}
