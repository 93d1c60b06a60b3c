import ModelFile

extension Tokenizer {
    /// Why a draft model with the other tokenizer would guess another vocabulary's tokens; nil when every id means the same in both.
    public func difference(from other: Tokenizer) -> String? {
        guard vocabularySize == other.vocabularySize else {
            return "\(other.vocabularySize) tokens, the model has \(vocabularySize)"
        }
        for id in 0..<Int32(vocabularySize)
        where bytes(of: id, includingSpecial: true) != other.bytes(of: id, includingSpecial: true)
            || bytes(of: id) != other.bytes(of: id)
        {
            return "token \(id) is not the same as in the model"
        }
        return nil
    }
}
