extension Duration {
    /// Whole milliseconds, rounded up: an expiry is never earlier than asked for.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        if overflow { return seconds > 0 ? .max : .min }
        return whole + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}
