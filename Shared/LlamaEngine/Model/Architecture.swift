/// The model families that the engine runs. They share one forward pass and differ in what is switched on in it.
public enum Architecture: String, Sendable, CaseIterable {
    /// Llama 1 to 3, Mistral, SmolLM, TinyLlama and all that call themselves the same.
    case llama
    /// Biases on queries, keys and values.
    case qwen2
    /// RMSNorm on every head of queries and keys.
    case qwen3

    /// How GGUF stores the rows of queries and keys; every model of Hugging Face has halves.
    var pairingInGGUF: RotaryPairing { self == .llama ? .neighbours : .halves }

    /// The names that are accepted, for error messages.
    static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}
