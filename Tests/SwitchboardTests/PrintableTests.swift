import Foundation
import PostgresStore
import ServiceKit
import Testing

@testable import switchboard

/// What API clients write is not to command the operator's terminal.
@Suite struct PrintableTests {
    private let hostile = "a\u{9B}31m\u{9D}0;t\u{7}\u{7F}\u{1B}[2J\u{202E}b\u{2066}c\u{2028}d\u{E0001}e"

    private func isHarmless(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: scalar == "\n"
            default: true
            }
        }
    }

    @Test func aMessageIsShownWithoutWhatATerminalObeys() throws {
        let body = try JSONSerialization.data(withJSONObject: ["message": hostile, "system": hostile])
        let shown = DeadLetters.Show.readable(Array(body))
        #expect(isHarmless(shown))
        // The same JSON: nothing is lost.
        let again = try JSONSerialization.jsonObject(with: Data(shown.utf8)) as? [String: String]
        #expect(again?["message"] == hostile)
        let text = DeadLetters.Show.readable(Array(("no JSON\n" + hostile).utf8))
        #expect(isHarmless(text) && text.hasPrefix("no JSON\na"))
        #expect(DeadLetters.Show.readable([0xFF, 0x1B]) == "ff1b")
    }

    @Test func aNameForgesNoLine() {
        #expect(Printable.text("one\nk2  valid\r\n\u{1B}[A") == "one\u{FFFD}k2  valid\u{FFFD}\u{FFFD}\u{FFFD}[A")
        #expect(Printable.text("Zoë 👩‍💻 東") == "Zoë 👩‍💻 東")
    }

    @Test func aListedKeySaysItsDays() {
        let key = KeyRecord(
            id: "k1", tenant: "a\u{1B}b", name: "n\n", hash: [], isAdmin: false, createdAt: 1_700_000_000_000,
            expiresAt: 1_800_000_000_000, revokedAt: nil)
        #expect(
            Keys.List.line(key, at: 1_700_000_000_001)
                == "k1  valid  standard  2023-11-14  2027-01-15  a\u{FFFD}b  n\u{FFFD}")
    }

    @Test func aKeyIsNoArgument() throws {
        #expect(throws: (any Error).self) { try Keys.Revoke.parse(["sb_mistyped"]) }
        let key = APIKey().text
        do {
            _ = try Keys.Revoke.parse([key])
            Issue.record("a whole key was taken")
        } catch {
            let message = Keys.Revoke.message(for: error)
            #expect(!message.contains(key))
        }
        #expect(try Keys.Revoke.parse(["k1"]).key.id == "k1")
    }
}
