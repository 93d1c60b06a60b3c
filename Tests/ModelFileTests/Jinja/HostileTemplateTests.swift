import Foundation
import Testing

@testable import ModelFile

/// Templates that try to take forever, all memory, or all stack.
@Suite("Hostile templates")
struct HostileTemplateTests {
    struct Attack: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let template: String

        init(_ description: String, _ template: String) {
            testDescription = description
            self.template = template
        }
    }

    static func repeated(_ text: String, _ count: Int = 20_000) -> String { String(repeating: text, count: count) }
    static let loops = repeated("{% for a in range(9999) %}", 30)

    static let attacks: [Attack] = [
        Attack("a template of a megabyte", repeated("x", 1 << 20)),
        Attack("nested parentheses", "{{ " + repeated("(") + repeated(")") + " }}"),
        Attack("nested lists", "{{ " + repeated("[") + repeated("]") + " }}"),
        Attack("nested dictionaries", "{{ " + repeated("{1:") + "1" + repeated("}") + " }}"),
        Attack("nested subscripts", "{{ " + repeated("a[") + "1" + repeated("]") + " }}"),
        Attack("nested calls", "{{ " + repeated("f(") + repeated(")") + " }}"),
        Attack("nested arguments of filters", "{{ 1" + repeated("|d(1", 10_000) + repeated(")", 10_000) + " }}"),
        Attack("many nots", "{{ " + repeated("not ") + "1 }}"),
        Attack("many minus signs", "{{ " + repeated("- ") + "1 }}"),
        Attack("many conditions", "{{ " + repeated("1 if ") + "1 }}"),
        Attack("many else", "{{ " + repeated("1 if 0 else ", 10_000) + "1 }}"),
        Attack("many attributes", "{{ a" + repeated(".a") + " }}"),
        Attack("many filters", "{{ 1" + repeated("|abs") + " }}"),
        Attack("many tests", "{{ 1" + repeated(" is defined|d ") + " }}"),
        Attack("nested ifs", repeated("{% if 1 %}", 10_000)),
        Attack("nested loops", loops + repeated("{% endfor %}", 30)),
        Attack("nested macros", repeated("{% macro m() %}", 10_000)),
        Attack("nested targets", "{% for " + repeated("(") + "a" + repeated(")") + " in x %}{% endfor %}"),
        Attack("endless recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
        Attack(
            "recursion of two", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}"),
        Attack(
            "recursion through a caller",
            "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}"),
        Attack("recursion that doubles", "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}"),
        Attack("long loops", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
        Attack("a long range", "{{ range(100001) }}"),
        Attack(
            "a text that doubles",
            "{% set n = namespace(t='xxxxxxxx') %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}"),
        Attack(
            "a list that doubles",
            "{% set n = namespace(t=[1]) %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}"),
        Attack(
            "a list that nests",
            "{% set n = namespace(t=[1]) %}{% for i in range(999) %}{% set n.t = [n.t] %}{% endfor %}"),
        Attack(
            "a list of itself twice",
            "{% set n = namespace(t=[1]) %}{% for i in range(30) %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.t }}"),
        Attack(
            "loops that nest",
            "{% set n = namespace(t=[1]) %}{% for i in range(999) %}{% for x in [n.t] %}{% set n.t = loop %}{% endfor %}{% endfor %}"
        ),
        Attack(
            "methods that nest",
            "{% set n = namespace(t='a') %}{% for i in range(999) %}{% set n.t = {'a': n.t}.get %}{% endfor %}"),
        Attack("a huge repetition", "{{ 'x' * 9223372036854775807 }}"),
        Attack("a huge list", "{{ [1] * 9223372036854775807 }}"),
        Attack("a huge power", "{{ 9 ** 9 ** 9 }}"),
        Attack("a sum that overflows", "{{ 9223372036854775807 + 1 }}"),
        Attack("a quotient that overflows", "{{ (-9223372036854775807 - 1) // -1 }}"),
        Attack("a negation that overflows", "{{ -(-9223372036854775807 - 1) }}"),
        Attack("an absolute value that overflows", "{{ (-9223372036854775807 - 1) | abs }}"),
        Attack("a number too long", "{{ 99999999999999999999 }}"),
        Attack("a huge indentation", "{{ 'a\nb' | indent(9223372036854775807) }}"),
        Attack(
            "indentations that grow",
            "{% set n = namespace(t='a\n' * 99) %}{% for i in range(99) %}{% set n.t = n.t | indent(n.t | length) %}{% endfor %}"
        ),
        Attack(
            "replacements that grow",
            "{% set n = namespace(t='aa') %}{% for i in range(99) %}{% set n.t = n.t | replace('a', n.t) %}{% endfor %}"
        ),
        Attack(
            "joins that grow",
            "{% set n = namespace(t='aa') %}{% for i in range(99) %}{% set n.t = n.t.join(['a', 'a', 'a']) ~ n.t %}{% endfor %}"
        ),
        Attack(
            "formats that grow",
            "{% set n = namespace(t='aa') %}{% for i in range(99) %}{% set n.t = '%s%s' % (n.t, n.t) %}{% endfor %}"),
        Attack(
            "searches that are slow",
            "{% set a = 'a' * 900000 %}{% set b = 'a' * 400000 ~ 'b' %}{% for i in range(9) %}{{ b in a }}{{ a.rsplit(b, 9) }}{% endfor %}"
        ),
        Attack(
            "escapes that grow",
            "{% set n = namespace(t='\"') %}{% for i in range(99) %}{% set n.t = n.t | tojson %}{% endfor %}"),
        Attack("a namespace in itself", "{% set n = namespace() %}{% set n.n = [n] %}{{ n.n }}"),
        Attack("captures in captures", repeated("{% set x %}", 10_000)),
        Attack("an unclosed comment", repeated("{#")),
        Attack("unclosed raws", repeated("{% raw %}")),
        Attack("unclosed tags", repeated("{{")),
        Attack("an escape beyond Unicode", "{{ '\\U00110000' }}"),
        Attack("half a surrogate", "{{ '\\ud800' }}"),
        Attack("an escape cut short", "{{ '\\x4' }}"),
        Attack("a bad byte", "{{ \u{0} }}"),
    ]

    /// On a thread with the stack of a pool's worker on the narrowest platform, half a megabyte; frames are larger
    /// without optimisation.
    static var stackSize: Int {
        #if DEBUG
        2 << 20
        #else
        512 << 10
        #endif
    }

    func onSmallStack<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
        await withCheckedContinuation { continuation in
            let thread = Thread { continuation.resume(returning: body()) }
            thread.stackSize = Self.stackSize
            thread.start()
        }
    }

    @Test("an attack ends in an error that says what it was", arguments: attacks)
    func attack(_ attack: Attack) async throws {
        let error = await onSmallStack { () -> Jinja.TemplateError? in
            do throws(Jinja.TemplateError) {
                _ = try Jinja.Template(attack.template).render([:])
                return nil
            } catch {
                return error
            }
        }
        #expect(error != nil)
        #expect(error.map { !$0.reason.isEmpty && $0.reason.utf8.count < 300 && $0.line > 0 } ?? false)
    }

    @Test("as deep as the limits allow is not too deep for a small stack")
    func deepest() async throws {
        @Sendable func nested(_ count: Int) -> String {
            "{% macro m(n) %}{% if n > 0 %}{{ [m(n - 1)] | first | trim }}{% endif %}{% endmacro %}"
                + HostileTemplateTests.repeated("{% if 1 %}", count) + "{{ m(99) }}"
                + HostileTemplateTests.repeated("{% endif %}", count)
        }
        for count in [1, 30, 38] {
            let error = await onSmallStack { () -> Jinja.TemplateError? in
                do throws(Jinja.TemplateError) {
                    _ = try Jinja.Template(nested(count)).render([:])
                    return nil
                } catch {
                    return error
                }
            }
            #expect(error?.kind == .limit)
        }
        let brackets = HostileTemplateTests.repeated("(", 37) + "1" + HostileTemplateTests.repeated(")", 37)
        let text = await onSmallStack { try? Jinja.Template("{{ \(brackets) }}").render([:]).string }
        #expect(text == "1")
    }

    @Test("the work that is allowed grows with the messages")
    func longMessages() throws {
        let message = Jinja.Value.text(Jinja.Text(untrusted: String(repeating: "é\n", count: 1 << 20)))
        let template = try Jinja.Template("{{ m | trim | replace('x', 'y') }}{{ m.split('é') | length }}")
        let text = try template.render(["m": message], inputBytes: 3 << 20).string
        #expect(throws: Jinja.TemplateError.self) { try template.render(["m": message]) }
        #expect(text.utf8.count == (3 << 20) - 1 + 7)
    }
}
