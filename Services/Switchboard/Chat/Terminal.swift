import Dispatch
import Foundation
import ServiceKit
import Synchronization

/// The terminal, or what stands in its place: raw mode, size, the bytes that come in.
///
/// Reading blocks, so it has a thread of its own; the pieces wait in a bounded mailbox.
final class Terminal: Sendable {
    private static let pieces = 64
    private static let pieceBytes = 4096

    let readsKeys: Bool
    let writesScreen: Bool
    let input = Mailbox<[UInt8]>(capacity: Terminal.pieces)
    private let original: Mutex<termios?>
    private let sources = Mutex<[any DispatchSourceSignal]>([])

    init() {
        var settings = termios()
        readsKeys = isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &settings) == 0
        writesScreen = isatty(STDOUT_FILENO) == 1
        original = Mutex(readsKeys ? settings : nil)
    }

    /// Columns of the screen at this moment.
    var columns: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Keys come one by one and unechoed; Ctrl-C is a key. Whatever ends the process gives the terminal back before.
    func start() {
        enterRawMode()
        if readsKeys {
            sources.withLock { sources in
                sources = [SIGTERM, SIGHUP].map { number in
                    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
                    source.setEventHandler { [weak self] in
                        self?.restore()
                        _exit(128 + number)
                    }
                    source.resume()
                    return source
                }
            }
        }
        Thread.detachNewThread { [input] in Terminal.read(into: input) }
    }

    private static func read(into input: Mailbox<[UInt8]>) {
        var buffer = [UInt8](repeating: 0, count: pieceBytes)
        while true {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(STDIN_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return input.close() }
            // Nobody has taken the earlier ones: whoever writes into the pipe waits, as is right.
            while !input.send(Array(buffer[..<count])) { usleep(10_000) }
        }
    }

    /// Ends the process when nothing can be written any more: quietly when nobody reads on (`| head`), as a program does that
    /// SIGPIPE ends; with the reason when a file's disk is full.
    func write(_ text: String) {
        guard let error = Terminal.write(text, to: STDOUT_FILENO) else { return }
        restore()
        guard error != EPIPE else { _exit(128 + SIGPIPE) }
        complain("the output cannot be written: \(String(cString: strerror(error)))")
        _exit(1)
    }

    /// Says it on standard error, if anybody hears.
    func complain(_ text: String) { _ = Terminal.write(text + "\n", to: STDERR_FILENO) }

    /// - Returns: the error that kept the rest from being written, if any.
    private static func write(_ text: String, to descriptor: Int32) -> Int32? {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                // Whoever shares the terminal has made it so that writing does not wait.
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&wait, 1, -1)
            } else if errno != EINTR {
                return errno
            }
        }
        return nil
    }

    func enterRawMode() {
        guard var settings = original.withLock({ $0 }) else { return }
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
        settings.c_iflag &= ~tcflag_t(IXON | ICRNL | INLCR)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
        if writesScreen { write("\u{1B}[?2004h") }  // pastes come marked
    }

    func restore() {
        guard var settings = original.withLock({ $0 }) else { return }
        if writesScreen { _ = Terminal.write("\u{1B}[?2004l", to: STDOUT_FILENO) }
        tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
    }

    /// Ctrl-Z: gives the terminal to the shell until the shell gives it back. Where no shell could (`ssh -t HOST switchboard
    /// chat`) the kernel passes SIGTSTP over.
    func suspend() {
        restore()
        // The threads on which tasks run block every signal. This one takes SIGTSTP, so that nothing is done before it stops.
        var stop = sigset_t()
        var before = sigset_t()
        sigemptyset(&stop)
        sigaddset(&stop, SIGTSTP)
        pthread_sigmask(SIG_UNBLOCK, &stop, &before)
        raise(SIGTSTP)
        pthread_sigmask(SIG_SETMASK, &before, nil)
        enterRawMode()
    }
}
