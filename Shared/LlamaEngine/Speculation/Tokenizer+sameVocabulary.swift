import ModelFile

extension Tokenizer {
    /// Tokens that one model of a family may have more than another: rows that fill up the embedding.
    private static let paddingLimit = 128

    /// Why a draft model with the other tokenizer would guess another vocabulary's tokens; nil when every id that both have means
    /// the same, and what one has beyond it is padding.
    public func difference(from other: Tokenizer) -> String? {
        let common = min(vocabularySize, other.vocabularySize)
        let longer = vocabularySize > common ? self : other
        let rest = longer.vocabularySize - common
        guard rest <= Self.paddingLimit || (common..<longer.vocabularySize).allSatisfy({ longer.isUnused(Int32($0)) })
        else { return "\(other.vocabularySize) tokens, the model has \(vocabularySize)" }
        for id in 0..<Int32(common) where !(isUnused(id) && other.isUnused(id)) {
            guard bytes(of: id, includingSpecial: true) == other.bytes(of: id, includingSpecial: true),
                bytes(of: id) == other.bytes(of: id)
            else { return "token \(id) is not the same as in the model" }
        }
        return nil
    }
}
