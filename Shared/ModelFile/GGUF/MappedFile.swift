import Foundation

/// A file's bytes in read-only memory, unmapped when the last user lets go.
///
/// Mapped and not read, so that opening a file of gigabytes for its tokenizer costs only the pages that are touched.
/// A file that is cut short by somebody else while it is mapped raises SIGBUS, as with every mapped file: replace model
/// files by renaming, never in place.
final class MappedFile: @unchecked Sendable {
    // Unchecked because of the raw pointer. Its guard: the pages are never written after init (the kernel enforces it),
    // and the pointer itself is a `let` that lives until deinit.
    let bytes: UnsafeRawBufferPointer

    /// Whether pages can be dropped and read again. Dropping anonymous pages would lose their contents.
    private let isBackedByFile: Bool

    init(path: String) throws(ModelFileError) {
        // O_NONBLOCK: opening a FIFO must not wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.systemError("open") }
        // The mapping outlives the descriptor.
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.systemError("stat") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw ModelFileError(offset: nil, field: "file", reason: "not a regular file")
        }
        guard status.st_size > 0 else { throw ModelFileError(offset: nil, field: "file", reason: "is empty") }
        let count = Int(status.st_size)
        guard let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
            throw Self.systemError("mmap")
        }
        bytes = UnsafeRawBufferPointer(start: address, count: count)
        isBackedByFile = true
    }

    /// A copy of `contents` in memory of its own, for files that were never on a disk.
    init(contents: [UInt8]) throws(ModelFileError) {
        guard !contents.isEmpty else { throw ModelFileError(offset: nil, field: "file", reason: "is empty") }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        guard let address = mmap(nil, contents.count, PROT_READ | PROT_WRITE, flags, -1, 0), address != MAP_FAILED
        else {
            throw Self.systemError("mmap")
        }
        UnsafeMutableRawBufferPointer(start: address, count: contents.count).copyBytes(from: contents)
        mprotect(address, contents.count, PROT_READ)
        bytes = UnsafeRawBufferPointer(start: address, count: contents.count)
        isBackedByFile = false
    }

    deinit {
        munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
    }

    /// Drops the resident pages that hold `range`; a later read brings them back from the page cache or the disk.
    func releasePages(_ range: Range<Int>) {
        guard isBackedByFile, let base = bytes.baseAddress, !range.isEmpty else { return }
        let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
        // Outwards to whole pages: a neighbour that loses a page reads it again.
        let start = range.lowerBound / pageSize * pageSize
        madvise(UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, MADV_DONTNEED)
    }

    private static func systemError(_ operation: String) -> ModelFileError {
        ModelFileError(offset: nil, field: "file", reason: "\(operation): \(String(cString: strerror(errno)))")
    }
}
