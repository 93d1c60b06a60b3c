extension Duration {
    /// Whole milliseconds, rounded down.
    var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }

    /// AMQP's expiration: milliseconds in digits. Nil for what a broker would refuse; what is longer than any of our
    /// messages may wait is cut to that.
    init?(expirationText text: String) {
        guard let milliseconds = UInt64(text) else { return nil }
        self = min(.milliseconds(Int64(clamping: min(milliseconds, 1 << 50))), OutgoingMessage.maximumExpiration)
    }
}
