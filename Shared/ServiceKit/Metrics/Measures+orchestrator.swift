import Metrics

extension Measures {
    public static let turnsHeld = Measure<Gauge>.gauge(
        "switchboard_turns_held", "Turns that this orchestrator has taken from the queues and that have not ended.",
        labels: ["kind"])
    public static let turnsWaiting = Measure<Gauge>.gauge(
        "switchboard_turns_waiting", "Turns that wait here for a place at a node.", labels: ["kind"])
    public static let oldestWaitingTurn = Measure<Gauge>.gauge(
        "switchboard_oldest_waiting_turn_seconds", "How long the oldest of them has waited; 0 when none waits.",
        labels: ["kind"])
    public static let turnWait = Measure<Timer>.seconds(
        "switchboard_turn_wait_seconds", "Time from a turn's acceptance to its place at a node.",
        labels: ["kind", "tier"], bounds: MeasureBounds.firstToken)
    public static let turnFirstToken = Measure<Timer>.seconds(
        "switchboard_turn_first_token_seconds", "Time from a turn's acceptance to its first token in the log.",
        labels: ["kind", "tier"], bounds: MeasureBounds.firstToken)
    public static let turnTime = Measure<Timer>.seconds(
        "switchboard_turn_seconds", "Time from a turn's acceptance to its end.", labels: ["kind", "tier"],
        bounds: MeasureBounds.request)
    public static let turnsEnded = Measure<Counter>.counter(
        "switchboard_turns_ended_total", "Turns that ended here.", labels: ["status", "kind"])
    public static let turnRetries = Measure<Counter>.counter(
        "switchboard_turn_retries_total", "Attempts that ended without the turn's end, by their verdict.",
        labels: ["reason"])
    public static let turnResumptions = Measure<Counter>.counter(
        "switchboard_turn_resumptions_total", "Turns that were taken over with tokens of an earlier holder.")
    public static let tokens = Measure<Counter>.counter(
        "switchboard_tokens_total", "Tokens of ended turns; tenants beyond the first 200 are other.",
        labels: ["tenant", "tier", "type"])

    static let orchestrator: [any AnyMeasure] = [
        turnsHeld, turnsWaiting, oldestWaitingTurn, turnWait, turnFirstToken, turnTime, turnsEnded, turnRetries,
        turnResumptions, tokens,
    ]
}
