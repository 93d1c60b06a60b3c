import Crypto
import Foundation

/// An API key as a client holds it: `sb_<id>_<secret>`. The id finds the record, the secret proves the right to it.
///
/// The secret has 256 random bits, so that its plain SHA-256 is a safe thing to store: there is nothing to guess that a
/// slow hash would protect.
public struct APIKey: Sendable {
    /// 16 lowercase hexadecimal digits.
    public let id: String
    private let secret: String

    /// A new key from the system's random source.
    public init() {
        id = APIKey.hexadecimal(SymmetricKey(size: .init(bitCount: 64)))
        secret = APIKey.hexadecimal(SymmetricKey(size: .bits256))
    }

    /// Reads a key that a client sent; nil when it cannot be one.
    public init?(_ text: String) {
        guard text.utf8.count == 3 + 16 + 1 + 64 else { return nil }
        let parts = text.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "sb", parts[1].utf8.count == 16, parts[2].utf8.count == 64 else {
            return nil
        }
        guard parts.dropFirst().allSatisfy({ $0.utf8.allSatisfy(APIKey.isHexadecimal) }) else { return nil }
        id = String(parts[1])
        secret = String(parts[2])
    }

    /// The key as its owner must keep it; it is shown once.
    public var text: String { "sb_\(id)_\(secret)" }

    /// What is stored: SHA-256 of the secret, 32 bytes.
    public var hash: [UInt8] { Array(SHA256.hash(data: Data(secret.utf8))) }

    /// Compares in constant time, whatever the first different byte is.
    public func matches(hash stored: [UInt8]) -> Bool {
        let own = hash
        guard own.count == stored.count else { return false }
        return zip(own, stored).reduce(0 as UInt8) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }

    private static func hexadecimal(_ key: SymmetricKey) -> String {
        key.withUnsafeBytes { bytes in
            bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        }
    }
}
