/// Names everything that a turn's bits depend on: nodes with equal ids give equal tokens (docs/numerics.md).
enum NumericsID {
    /// Raised whenever a kernel's arithmetic changes, or what ends a turn.
    static let contractVersion = 3

    /// 16 hexadecimal digits.
    static func make(
        modelDigest: String, kvType: KVType, activations: ActivationMode, fullPrecisionBackend: String?
    ) -> String {
        let parts = [
            "contract=\(contractVersion)", "model=\(modelDigest)", "kv=\(kvType.rawValue)",
            "activations=\(activations.rawValue)",
            "full-precision=\(fullPrecisionBackend ?? "none")",
        ]
        // FNV-1a, 64 bits: it tells configurations apart, it is no defence.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in parts.joined(separator: "\n").utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
