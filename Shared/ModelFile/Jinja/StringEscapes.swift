extension Jinja {
    /// The escapes of string literals, which are Python's.
    enum StringEscapes {
        /// UTF-8 of the literal; nil where an escape is no scalar.
        static func decode(_ literal: ArraySlice<UInt8>) -> [UInt8]? {
            guard literal.contains(0x5C) else { return Array(literal) }
            var result: [UInt8] = []
            var rest = literal
            while let byte = rest.popFirst() {
                guard byte == 0x5C, let escape = rest.popFirst() else {
                    result.append(byte)
                    continue
                }
                switch escape {
                case 0x0A: break
                case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): result.append(escape)
                case UInt8(ascii: "a"): result.append(0x07)
                case UInt8(ascii: "b"): result.append(0x08)
                case UInt8(ascii: "f"): result.append(0x0C)
                case UInt8(ascii: "n"): result.append(0x0A)
                case UInt8(ascii: "r"): result.append(0x0D)
                case UInt8(ascii: "t"): result.append(0x09)
                case UInt8(ascii: "v"): result.append(0x0B)
                case UInt8(ascii: "x"), UInt8(ascii: "u"), UInt8(ascii: "U"):
                    let digits = escape == UInt8(ascii: "x") ? 2 : escape == UInt8(ascii: "u") ? 4 : 8
                    guard rest.count >= digits, append(rest.prefix(digits), radix: 16, to: &result) else { return nil }
                    rest = rest.dropFirst(digits)
                case 0x30...0x37:
                    let digits = [escape] + rest.prefix(2).prefix { (0x30...0x37).contains($0) }
                    guard append(digits[...], radix: 8, to: &result) else { return nil }
                    rest = rest.dropFirst(digits.count - 1)
                default: result += [byte, escape]
                }
            }
            return result
        }

        private static func append(_ digits: ArraySlice<UInt8>, radix: Int, to result: inout [UInt8]) -> Bool {
            let text = String(decoding: digits, as: UTF8.self)
            guard text.utf8.allSatisfy({ $0 != 0x2B && $0 != 0x2D }), let value = UInt32(text, radix: radix),
                let scalar = Unicode.Scalar(value)
            else { return false }
            result += Array(String(scalar).utf8)
            return true
        }
    }
}
