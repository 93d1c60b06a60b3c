import Metrics

extension Measures {
    public static let requests = Measure<Counter>.counter(
        "switchboard_requests_total", "Requests answered, by the route's pattern and the answer's status.",
        labels: ["route", "status"])
    public static let requestTime = Measure<Timer>.seconds(
        "switchboard_request_seconds", "Time until a request's answer begins.", labels: ["route"])
    public static let acceptTime = Measure<Timer>.seconds(
        "switchboard_accept_seconds",
        "Time to accept a turn, whole and by what it waited for; own is what is left without the waits.",
        labels: ["stage"], bounds: MeasureBounds.brief)
    public static let turnsAccepted = Measure<Counter>.counter(
        "switchboard_turns_accepted_total", "Turns that were accepted and are durable.", labels: ["kind", "tier"])
    public static let turnsRefused = Measure<Counter>.counter(
        "switchboard_turns_refused_total", "Requests for a turn that were refused, by the error's code.",
        labels: ["reason"])
    public static let openStreams = Measure<Gauge>.gauge(
        "switchboard_open_streams", "Clients that follow a turn at this gateway.")
    public static let streamResumes = Measure<Counter>.counter(
        "switchboard_stream_resumes_total", "Streams that were begun with a Last-Event-ID.")
    public static let streamWrite = Measure<Timer>.seconds(
        "switchboard_stream_write_seconds", "Time from hearing of tokens to having handed them to the client's socket.",
        bounds: MeasureBounds.brief)
    public static let connections = Measure<Gauge>.gauge(
        "switchboard_connections", "Connections of clients that are open.")
    public static let bodyBytes = Measure<Gauge>.gauge(
        "switchboard_request_body_bytes", "Bytes of request bodies in hand, until their turns are accepted or refused.")
    public static let bodiesRefused = Measure<Counter>.counter(
        "switchboard_request_bodies_refused_total",
        "Requests refused because bodies in hand, of all keys or of theirs, had as many bytes as they may.")
    public static let componentUp = Measure<Gauge>.gauge(
        "switchboard_component_up",
        "Whether a component answered when it was last asked; while that cannot be found out, the last that was known.",
        labels: ["component"])
    public static let redisMemory = Measure<Gauge>.gauge(
        "switchboard_redis_memory_share", "Share of Redis' maxmemory that is used; 0 when it has none.")
    public static let alive = Measure<Gauge>.gauge(
        "switchboard_alive", "Processes of a kind whose heartbeat is young.", labels: ["kind"])

    static let gateway: [any AnyMeasure] = [
        requests, requestTime, acceptTime, turnsAccepted, turnsRefused, openStreams, streamResumes, streamWrite,
        connections, bodyBytes, bodiesRefused, componentUp, redisMemory, alive,
    ]
}
