import Testing

@testable import switchboard

@Suite struct KeyDecoderTests {
    private func keys(_ text: String, isTerminal: Bool = true) -> [Key] {
        var decoder = KeyDecoder(isTerminal: isTerminal)
        return decoder.feed(text.utf8)
    }

    @Test func readsWhatTerminalsSend() {
        #expect(keys("a é\r") == [.character("a"), .character(" "), .character("é"), .enter])
        #expect(keys("\u{1B}[A\u{1B}OB\u{1B}[1;5D\u{1B}[3~\u{1B}b") == [.up, .down, .wordLeft, .delete, .wordLeft])
        #expect(keys("\u{3}\u{4}\u{15}\u{7F}\n") == [.interrupt, .endOfInput, .killToStart, .backspace, .newline])
        #expect(keys("\u{1B}[200~two\r\nlines\u{3}\u{1B}[201~x") == [.paste("two\nlines\u{3}"), .character("x")])
    }

    @Test func everySplitGivesTheSame() {
        let bytes = Array("東👩\u{1B}[1;5C\u{1B}[200~p\r\u{1B}[201~\u{1B}OAz".utf8)
        let whole: [Key] = [.character("東"), .character("👩"), .wordRight, .paste("p\n"), .up, .character("z")]
        for split in 0...bytes.count {
            var decoder = KeyDecoder(isTerminal: true)
            #expect(decoder.feed(bytes[..<split]) + decoder.feed(bytes[split...]) == whole, "split at \(split)")
        }
    }

    @Test func aPipeHasLinesAndNoEscapeSequences() {
        #expect(keys("a\tb\n\u{1B}[Ac", isTerminal: false).contains(.up) == false)
        #expect(keys("a\tb\n", isTerminal: false) == [.character("a"), .character("\t"), .character("b"), .enter])
    }

    @Test func brokenAndEndlessSequencesDoNoHarm() {
        var decoder = KeyDecoder(isTerminal: true)
        #expect(decoder.feed([0xC3, 0x61, 0xFF, 0x80, 0xE2, 0x82, 0x61]) == [.character("a"), .character("a")])
        #expect(decoder.feed([0xC0, 0x80]).isEmpty)  // overlong
        _ = decoder.feed([0x1B, 0x5B] + Array(repeating: 0x31, count: 1000))
        #expect(decoder.feed([0x61]) == [.character("a")])
    }

    @Test func aPasteThatIsTooLongIsCutAndEnds() {
        var decoder = KeyDecoder(isTerminal: true)
        let long = Array(repeating: UInt8(ascii: "x"), count: KeyDecoder.maximumPasteBytes + 5000)
        let keys = decoder.feed(Array("\u{1B}[200~".utf8) + long + Array("\u{1B}[201~\u{3}".utf8))
        #expect(keys.count == 2)
        if case .paste(let text)? = keys.first { #expect(text.utf8.count == KeyDecoder.maximumPasteBytes) }
        #expect(keys.last == .interrupt)
    }

    @Test func whatOnlyBeginsLikeTheEndOfAPasteIsText() {
        #expect(keys("\u{1B}[200~a\u{1B}[2\u{1B}[20\u{1B}\u{1B}[201~") == [.paste("a\u{1B}[2\u{1B}[20\u{1B}")])
    }
}
