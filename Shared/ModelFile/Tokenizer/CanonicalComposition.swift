import Foundation

/// Unicode's normalization form C for text of any length.
///
/// Foundation sorts a run of combining marks by moving them one by one, so a run of 100,000 would take minutes, and from
/// some 60 on its order is wrong. Long runs are therefore sorted here, and only marks that can take part in a composition
/// are handed over.
enum CanonicalComposition {
    /// How many marks of one combining class a base can take up; real ones take at most two.
    private static let marksPerClass = 3
    /// Shorter runs go to Foundation as they are.
    private static let runLimit = 32

    /// The text in form C; nil when it has no scalar that normalization could change.
    static func compose(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        // U+0300 is the first scalar that composes or decomposes together with another; those before are in form C.
        guard text.contains(where: { $0 >= 0xCC }) else { return nil }
        let scalars = Array(String(decoding: text, as: UTF8.self).unicodeScalars)
        var output: [UInt8] = []
        output.reserveCapacity(text.count)
        // A piece ends with a long run: what composes stands together in one piece.
        var piece = String.UnicodeScalarView()
        var index = 0
        while index < scalars.count {
            var end = index + 1
            while end < scalars.count, combiningClass(scalars[end]) != 0 { end += 1 }
            let marks = scalars[(index + 1)..<end]
            if marks.count > runLimit {
                output.append(contentsOf: String(composeLongRun(piece, scalars[index], marks)).utf8)
                piece = String.UnicodeScalarView()
            } else {
                piece.append(contentsOf: scalars[index..<end])
            }
            index = end
        }
        output.append(contentsOf: String(piece).precomposedStringWithCanonicalMapping.utf8)
        return output
    }

    /// A piece that ends with `base` and a long run of marks.
    private static func composeLongRun(
        _ before: String.UnicodeScalarView, _ base: Unicode.Scalar, _ marks: ArraySlice<Unicode.Scalar>
    ) -> String.UnicodeScalarView {
        // A text may begin with a mark, which is in the run itself.
        let isMark = combiningClass(base) != 0
        let sorted = sort(isMark ? [base] + marks : Array(marks))
        var head = before
        if !isMark { head.append(base) }
        var rest: [Unicode.Scalar] = []
        var taken = 0
        for (index, mark) in sorted.enumerated() {
            taken = index > 0 && combiningClass(sorted[index - 1]) == combiningClass(mark) ? taken + 1 : 1
            if taken <= marksPerClass { head.append(mark) } else { rest.append(mark) }
        }
        let composed = Array(String(head).precomposedStringWithCanonicalMapping.unicodeScalars)
        // Some marks have a canonical mapping to other marks.
        let mapped = rest.flatMap { String($0).precomposedStringWithCanonicalMapping.unicodeScalars }
        let lastBase = composed.lastIndex { combiningClass($0) == 0 } ?? -1
        return String.UnicodeScalarView(
            composed.prefix(lastBase + 1) + sort(composed.dropFirst(lastBase + 1) + mapped))
    }

    private static func combiningClass(_ scalar: Unicode.Scalar) -> UInt8 {
        scalar.value < 0x300 ? 0 : scalar.properties.canonicalCombiningClass.rawValue
    }

    /// By combining class, equal ones in their order.
    private static func sort(_ marks: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var byClass: [UInt8: [Unicode.Scalar]] = [:]
        for mark in marks { byClass[combiningClass(mark), default: []].append(mark) }
        return byClass.keys.sorted().flatMap { byClass[$0] ?? [] }
    }
}
