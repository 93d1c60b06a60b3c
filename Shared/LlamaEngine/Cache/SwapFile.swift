import Foundation

/// The second tier's memory: a file without a name, mapped, of a size that never changes.
///
/// The system writes its pages to disk when memory is short, and it is gone when the process is.
final class SwapFile {
    let slotBytes: Int
    private let base: UnsafeMutableRawPointer
    private let byteCount: Int

    /// - Parameter directory: where the file's blocks are reserved.
    /// - Throws: ``EngineError/unavailable(_:)`` when the directory has no room for it.
    init(slots: Int, slotBytes: Int, directory: String) throws(EngineError) {
        self.slotBytes = slotBytes
        byteCount = slots * slotBytes
        var template = Array((directory + "/switchboard-swap-XXXXXX").utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else {
            throw .unavailable("swap: no file can be made in \(directory): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        unlink(template)
        // Reserved now: a page of a mapped file that finds no room later would kill the process.
        #if canImport(Darwin)
        let failure = ftruncate(descriptor, off_t(byteCount)) == 0 ? 0 : errno
        #else
        let failure = posix_fallocate(descriptor, 0, off_t(byteCount))
        #endif
        guard failure == 0 else {
            throw .unavailable("swap: \(byteCount >> 20) MiB in \(directory): \(String(cString: strerror(failure)))")
        }
        guard let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), memory != MAP_FAILED
        else {
            throw .unavailable("swap: \(byteCount >> 20) MiB cannot be mapped: \(String(cString: strerror(errno)))")
        }
        base = memory
    }

    deinit { munmap(base, byteCount) }

    /// The `slotBytes` bytes of a slot.
    func slot(_ slot: Int32) -> UnsafeMutableRawPointer { base + Int(slot) * slotBytes }
}
