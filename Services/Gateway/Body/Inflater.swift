import CZlib
import NIOCore

/// Unpacks a body as it comes, up to a bound.
final class Inflater {
    enum Failure: Error { case tooLarge, malformed }

    private static let step = 16 << 10
    /// zlib keeps its address.
    private let stream: UnsafeMutablePointer<z_stream>
    private let coding: ContentCoding
    private let limit: Int
    /// The packed data ended with the bytes so far.
    private(set) var isWhole = false

    /// - Parameter limit: bytes that there may be when all is unpacked.
    init(_ coding: ContentCoding, limit: Int) throws(Failure) {
        self.coding = coding
        self.limit = limit
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // The largest window; 16 more is gzip's format, without them it is zlib's.
        let window: Int32 = coding == .gzip ? 15 + 16 : 15
        guard inflateInit2_(stream, window, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw .malformed
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    /// Unpacks `bytes`, which follow those before, to the end of `output`.
    func append(_ bytes: ByteBuffer, to output: inout ByteBuffer) throws(Failure) {
        var bytes = bytes
        while let piece = bytes.readBytes(length: min(bytes.readableBytes, Inflater.step)), !piece.isEmpty {
            try unpack(piece, to: &output)
        }
    }

    private func unpack(_ piece: [UInt8], to output: inout ByteBuffer) throws(Failure) {
        var piece = piece
        let status = piece.withUnsafeMutableBufferPointer { input -> Result<Void, Failure> in
            stream.pointee.next_in = input.baseAddress
            stream.pointee.avail_in = UInt32(input.count)
            defer { (stream.pointee.next_in, stream.pointee.avail_in) = (nil, 0) }
            return Result { () throws(Failure) in try inflateAll(to: &output) }
        }
        try status.get()
    }

    private func inflateAll(to output: inout ByteBuffer) throws(Failure) {
        repeat {
            if isWhole {
                guard stream.pointee.avail_in > 0 else { return }
                // A gzip file may be several, one after the other (RFC 1952, section 2.2).
                guard coding == .gzip, inflateReset(stream) == Z_OK else { throw .malformed }
                isWhole = false
            }
            // One byte more than may be, to see that it is too much.
            let room = min(limit - output.readableBytes + 1, Inflater.step)
            var status = Z_OK
            output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { space in
                stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: Bytef.self)
                stream.pointee.avail_out = UInt32(room)
                status = inflate(stream, Z_NO_FLUSH)
                return room - Int(stream.pointee.avail_out)
            }
            guard output.readableBytes <= limit else { throw .tooLarge }
            switch status {
            case Z_OK: break
            case Z_STREAM_END: isWhole = true
            case Z_BUF_ERROR: return  // nothing left to do with what there is
            default: throw .malformed
            }
        } while stream.pointee.avail_in > 0 || stream.pointee.avail_out == 0
    }
}
