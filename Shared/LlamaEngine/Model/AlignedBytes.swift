import ModelFile

extension UnsafeRawBufferPointer {
    /// Runs `body` with these bytes where numbers of the type may be read: in place, or as a copy where they do not lie on a multiple
    /// of a number's size. Writers of safetensors files need not pad the header, so that every tensor of a file may lie odd.
    func aligned<R>(for type: TensorType, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        // A block of quants has no alignment of its own; GGUF aligns its tensors.
        let size = type.blockSize == 1 ? type.bytesPerBlock : 1
        guard let baseAddress, Int(bitPattern: baseAddress) % size != 0 else { return body(self) }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        defer { copy.deallocate() }
        copy.copyMemory(from: self)
        return body(UnsafeRawBufferPointer(copy))
    }
}
