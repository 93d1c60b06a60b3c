/// What a command or script does to the data: whether a server that takes no writes now refuses it.
public enum CommandEffect: Sendable {
    /// It reads, or goes on without its write, or begins with a write that frees, which a server without memory takes: it is
    /// always asked.
    case reads
    /// It writes in some cases: not asked while writes are refused.
    case mayWrite
    /// It always writes: its success shows that writes are taken.
    case writes

    /// Of a single command. Those that only free memory are asked for even when writes are refused for want of it.
    init(of command: String) {
        self = Self.writing.contains(command) ? .writes : .reads
    }

    /// Of several that are sent together.
    init(of effects: [CommandEffect]) {
        self = effects.contains(.writes) ? .writes : effects.contains(.mayWrite) ? .mayWrite : .reads
    }

    private static let writing: Set<String> = ["SET", "HSET", "RPUSH", "LPUSH", "XADD", "ZADD", "INCR"]
}
