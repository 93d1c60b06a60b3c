/// The subset of Jinja that chat templates are written in, with the semantics of jinja2 3.1 as Hugging Face sets it up
/// (`trim_blocks`, `lstrip_blocks`, loop controls, an immutable sandbox; jinja.palletsprojects.com/templates).
///
/// A template is a program from an untrusted file. It has no way to the outside; everything that it can make grow is
/// bounded by `Limits`; what it makes wrong ends in a `TemplateError`.
enum Jinja {
    struct Limits: Sendable {
        /// Bytes of the template; the longest in use have 20 KB.
        var templateBytes = 1 << 18
        /// Levels of statements and expressions inside each other in the text; each takes some twenty calls to read.
        var nesting = 40
        /// Levels of what is evaluated; a call of a macro takes two. All together stay under the 512 KB of a thread's stack
        /// on the narrowest platform (1.5 MB without optimisation).
        var depth = 160
        /// Lists inside lists, which are compared, printed and released recursively.
        var valueDepth = 32
        /// Evaluated nodes and pieces of text for each rendering, some tenths of a second; eight for each byte of the
        /// messages come on top.
        var work = 2_000_000
        /// As in jinja2's sandbox.
        var range = 100_000
    }

    /// Why a template cannot be loaded or rendered.
    struct TemplateError: Error, Equatable, CustomStringConvertible {
        enum Kind: Equatable {
            /// Wrong or unsupported: no request can change it.
            case template
            /// `raise_exception`: the template refuses these messages.
            case raised
            /// One of `Limits`.
            case limit
        }

        let kind: Kind
        /// Line of the template, from 1.
        let line: Int
        let reason: String

        init(_ reason: String, line: Int, kind: Kind = .template) {
            self.kind = kind
            self.line = line
            self.reason = reason
        }

        var description: String { "line \(line): \(reason)" }
    }

    /// A failure that does not know its line yet.
    struct Failure: Error {
        let reason: String
        var kind = TemplateError.Kind.template

        init(_ reason: String, kind: TemplateError.Kind = .template) {
            self.reason = reason
            self.kind = kind
        }
    }

    /// What a rendering has used of its work.
    final class Meter {
        private var left: Int

        init(work: Int) { left = work }

        func charge(_ units: Int = 1) throws(Failure) {
            left -= units
            guard left >= 0 else { throw Failure("the template takes too much work", kind: .limit) }
        }

        /// For text that is copied.
        func charge(bytes: Int) throws(Failure) {
            try charge(1 + bytes / 16)
        }

        /// For text that is looked at code point by code point.
        func charge(scalars bytes: Int) throws(Failure) {
            try charge(1 + bytes / 2)
        }
    }
}
