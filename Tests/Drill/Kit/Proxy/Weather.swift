/// What a proxied link does to the bytes that pass.
public enum Weather: Sendable, Equatable {
    case clear
    /// Every piece arrives this much later, and no more bytes pass in a second than this.
    case slow(delay: Duration, bytesPerSecond: Int)
    /// Nothing passes and nobody is told: what a network that drops packets, or a host that vanished, looks like.
    case silent
    /// Every connection is reset, new ones at once.
    case refusing
}
