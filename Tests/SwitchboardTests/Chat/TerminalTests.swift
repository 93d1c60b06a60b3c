import ServiceHarness
import Testing

/// The chat on a terminal of its own: who has the keys, and how the terminal is left.
@Suite struct TerminalTests {
    /// Runs the chat on a pseudo-terminal, which Python makes and types into.
    /// - Parameter steps: what is done then; the names of `library` are there.
    /// - Returns: what the steps print.
    private func onTerminal(_ steps: String) async throws -> String {
        let gateway = try await FakeGateway(.honest)
        let result = try await Program.run(
            "python3", ["-c", Self.library + steps, Executable.path("switchboard"), gateway.url],
            environment: ["PATH": "/usr/bin:/bin", "CHAT_API_KEY": "key", "TERM": "xterm"])
        try await gateway.stop()
        return result.text
    }

    private static let library = """
        import os, pty, select, signal, sys, termios, time

        chat = [sys.argv[1], "chat", "--gateway", sys.argv[2]]
        answer = b"x" * \(FakeGateway.tokens)
        screen = b""

        def become_chat():
            try:
                os.execv(chat[0], chat)
            finally:
                os._exit(127)

        def is_cooked(terminal):
            # Lines are edited and echoed, and Ctrl-C is a signal: what a shell wants to find.
            wanted = termios.ICANON | termios.ECHO | termios.ISIG
            return termios.tcgetattr(terminal)[3] & wanted == wanted

        def wait(what, condition):
            # Reads what the chat writes meanwhile, or it would wait for room.
            global screen
            deadline = time.monotonic() + 60
            while not condition():
                if time.monotonic() > deadline:
                    print("never:", what, screen[-400:], flush=True)
                    os._exit(1)
                if select.select([terminal], [], [], 0.02)[0]:
                    try:
                        screen += os.read(terminal, 65536)
                    except OSError:
                        time.sleep(0.02) # nobody has the other end open any more

        def asks():
            os.write(terminal, b"hi\\r")
            wait("the answer", lambda: answer in screen)

        def ended(child):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                print("status", os.waitstatus_to_exitcode(status))
            return found

        """

    /// A shell takes the terminal when the chat stops, and gives it back.
    @Test func ctrlZGivesTheTerminalToTheShell() async throws {
        let text = try await onTerminal(
            """
            told, tells = os.pipe()
            shell, terminal = pty.fork()
            if shell == 0:
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                job = os.fork()
                if job == 0:
                    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                    os.setpgid(0, 0)
                    while os.tcgetpgrp(0) != os.getpid():
                        time.sleep(0.01)
                    become_chat()
                while os.getpgid(job) != job:
                    time.sleep(0.01)
                os.tcsetpgrp(0, job)
                _, status = os.waitpid(job, os.WUNTRACED)
                os.tcsetpgrp(0, os.getpgrp())
                os.write(tells, b"%d" % (os.WIFSTOPPED(status) and os.WSTOPSIG(status)))
                if os.WIFSTOPPED(status):
                    os.read(0, 1) # the shell's own line
                    os.tcsetpgrp(0, job)
                    os.kill(job, signal.SIGCONT)
                    _, status = os.waitpid(job, 0)
                os._exit(os.waitstatus_to_exitcode(status))
            wait("raw mode", lambda: not is_cooked(terminal))
            os.write(terminal, b"\\x1a")
            wait("the chat stops", lambda: select.select([told], [], [], 0)[0])
            print("stopped by", int(os.read(told, 9)) == signal.SIGTSTP, "cooked", is_cooked(terminal))
            os.write(terminal, b"\\n")
            wait("raw mode again", lambda: not is_cooked(terminal))
            asks()
            os.write(terminal, b"\\x04")
            wait("the end", lambda: ended(shell))
            """)
        #expect(text == "stopped by True cooked True\nstatus 0")
    }

    /// `ssh -t HOST switchboard chat`: no shell could ever let it go on, so it is not stopped.
    @Test func withoutAShellCtrlZIsPassedOver() async throws {
        let text = try await onTerminal(
            """
            child, terminal = pty.fork()
            if child == 0:
                become_chat()
            wait("raw mode", lambda: not is_cooked(terminal))
            os.write(terminal, b"\\x1a")
            asks()
            os.write(terminal, b"\\x04")
            wait("the end", lambda: ended(child))
            """)
        #expect(text == "status 0")
    }

    /// `switchboard chat | less`, left with q: the shell gets its terminal as it was.
    @Test func theTerminalIsGivenBackWhenTheOutputCloses() async throws {
        let text = try await onTerminal(
            """
            terminal, other = pty.openpty()
            reads, writes = os.pipe()
            child = os.fork()
            if child == 0:
                os.setsid()
                os.dup2(other, 0)
                os.dup2(writes, 1)
                os.closerange(3, 64)
                become_chat()
            os.close(writes)
            wait("raw mode", lambda: not is_cooked(other))
            os.close(reads)
            os.write(terminal, b"hi\\r")
            wait("the end", lambda: ended(child))
            print("cooked", is_cooked(other))
            """)
        #expect(text == "status 141\ncooked True")
    }
}
