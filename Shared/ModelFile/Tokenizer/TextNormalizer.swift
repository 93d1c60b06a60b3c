/// What happens to a section of text before it is split and merged.
struct TextNormalizer {
    enum Prefix {
        case never
        /// A space before every section.
        case always
        /// A space before sections that do not begin with one.
        case unlessSpace
        /// The same, only at the begin of the whole text.
        case unlessSpaceAtStart
    }

    var prefix = Prefix.never
    /// U+2581 is read as a space.
    var unescapesSpaces = false
    /// Canonical composition (NFC).
    var composes = false

    var isIdentity: Bool { prefix == .never && !unescapesSpaces && !composes }

    /// The normalized text; nil when it is the text itself.
    func normalize(_ text: UnsafeRawBufferPointer, isStart: Bool) -> [UInt8]? {
        guard !text.isEmpty, !isIdentity else { return nil }
        var output: [UInt8] = []
        output.reserveCapacity(text.count + 1)
        let beginsWithSpace = text[0] == 0x20 || unescapesSpaces && text.starts(with: Spaces.escaped)
        switch prefix {
        case .always: output.append(0x20)
        case .unlessSpace where !beginsWithSpace: output.append(0x20)
        case .unlessSpaceAtStart where isStart && !beginsWithSpace: output.append(0x20)
        default: break
        }
        let composed = composes ? CanonicalComposition.compose(text) : nil
        switch (composed, unescapesSpaces) {
        case (let composed?, true): Spaces.appendUnescaped(composed, to: &output)
        case (let composed?, false): output.append(contentsOf: composed)
        case (nil, true): Spaces.appendUnescaped(text, to: &output)
        case (nil, false): output.append(contentsOf: text)
        }
        return output
    }
}
