import CZlib

/// The zlib format (RFC 1950) behind four bytes of the original's size, little-endian.
enum Deflate {
    static func pack(_ bytes: [UInt8]) -> [UInt8]? {
        var size = compressBound(uLong(bytes.count))
        var packed = [UInt8](repeating: 0, count: 4 + Int(size))
        // The fastest level: chat text shrinks to about a half with it, and the callers are in a hurry.
        let status = packed.withUnsafeMutableBytes { out in
            compress2(
                out.baseAddress?.advanced(by: 4).assumingMemoryBound(to: Bytef.self), &size, bytes, uLong(bytes.count),
                Z_BEST_SPEED)
        }
        guard status == Z_OK else { return nil }
        packed.replaceSubrange(0..<4, with: header(bytes.count))
        packed.removeLast(packed.count - 4 - Int(size))
        return packed
    }

    /// The header alone: it says how large an original is that is not there.
    static func header(_ size: Int) -> [UInt8] {
        let size = UInt32(clamping: size)
        return (0..<4).map { UInt8(truncatingIfNeeded: size >> (8 * $0)) }
    }

    /// nil for anything that `pack` did not make, and for what says that it has more than `maximumBytes`.
    static func unpack(_ packed: [UInt8], upTo maximumBytes: Int) -> [UInt8]? {
        guard packed.count > 4 else { return nil }
        let count = (0..<4).reduce(0) { $0 | Int(packed[$1]) << (8 * $1) }
        guard count <= maximumBytes else { return nil }
        // One byte more, so that there is always an address to write to, also for an empty original.
        var bytes = [UInt8](repeating: 0, count: count + 1)
        var size = uLong(count)
        let status = packed.withUnsafeBytes { source in
            uncompress(
                &bytes, &size, source.baseAddress?.advanced(by: 4).assumingMemoryBound(to: Bytef.self),
                uLong(packed.count - 4))
        }
        guard status == Z_OK, Int(size) == count else { return nil }
        bytes.removeLast()
        return bytes
    }
}
