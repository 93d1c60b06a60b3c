import Metrics

extension Measures {
    public static let settledTurns = Measure<Counter>.counter(
        "switchboard_settled_turns_total", "Turns stored in a shard.", labels: ["shard"])
    public static let settleTime = Measure<Timer>.seconds(
        "switchboard_settle_seconds", "Time of the statement that stores a batch of turns.", labels: ["shard"])
    public static let settleLag = Measure<Timer>.seconds(
        "switchboard_settle_lag_seconds", "Time from a turn's end to its being stored.", labels: ["shard"])
    public static let deadLetters = Measure<Counter>.counter(
        "switchboard_dead_letters_total", "Messages that died and were drained.", labels: ["reason"])
    public static let deadLettersKept = Measure<Gauge>.gauge(
        "switchboard_dead_letters_kept", "Dead letters in the directory that nobody has replayed or dropped.")
    public static let queueMessages = Measure<Gauge>.gauge(
        "switchboard_queue_messages", "Messages that are ready in a queue; those with a consumer do not count.",
        labels: ["queue"])
    public static let queueConsumers = Measure<Gauge>.gauge(
        "switchboard_queue_consumers", "Consumers of a queue.", labels: ["queue"])
    public static let queueAge = Measure<Gauge>.gauge(
        "switchboard_queue_age_seconds", "Age of a queue's oldest message; 0 when it is empty.", labels: ["queue"])

    static let worker: [any AnyMeasure] = [
        settledTurns, settleTime, settleLag, deadLetters, deadLettersKept, queueMessages, queueConsumers, queueAge,
    ]
}
