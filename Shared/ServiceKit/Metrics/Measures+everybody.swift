import Metrics

extension Measures {
    // The process
    public static let residentMemory = Measure<Gauge>.gauge(
        "process_resident_memory_bytes", "Memory of the process that is in RAM.")
    public static let cpuSeconds = Measure<Counter>.counter(
        "process_cpu_seconds_total", "Processor time of the process, in user and kernel together.")
    public static let openDescriptors = Measure<Gauge>.gauge("process_open_fds", "Open file descriptors.")
    public static let maximumDescriptors = Measure<Gauge>.gauge(
        "process_max_fds", "File descriptors that may be open at a time.")
    public static let startTime = Measure<Gauge>.gauge(
        "process_start_time_seconds", "Unix time at which the process began.")
    public static let buildInfo = Measure<Gauge>.gauge(
        "switchboard_build_info", "Always 1; the labels say what runs.", labels: ["service", "version"])
    public static let seriesDropped = Measure<Gauge>.gauge(
        "switchboard_metric_series_dropped", "Series that found no room in this process; more than 0 is a defect.")

    // Dependencies
    public static let breakerState = Measure<Gauge>.gauge(
        "switchboard_breaker_state", "Circuit breaker of a dependency: 0 closed, 1 half-open, 2 open.",
        labels: ["dependency"])
    public static let breakerOpenings = Measure<Counter>.counter(
        "switchboard_breaker_openings_total", "Times that a closed circuit breaker opened.", labels: ["dependency"])
    public static let breakerRefusals = Measure<Counter>.counter(
        "switchboard_breaker_refusals_total", "Calls that an open circuit breaker refused.", labels: ["dependency"])
    public static let dependencyFailures = Measure<Counter>.counter(
        "switchboard_dependency_failures_total", "Calls to a dependency that failed.", labels: ["dependency"])
    public static let brokerConnects = Measure<Counter>.counter(
        "switchboard_broker_connects_total", "Connections made to the broker.", labels: ["role"])
    public static let shardQuery = Measure<Timer>.seconds(
        "switchboard_shard_query_seconds",
        "Time of a statement or transaction on a shard, with its connection in hand.",
        labels: ["shard"], bounds: MeasureBounds.brief)
    public static let poolWait = Measure<Timer>.seconds(
        "switchboard_pool_wait_seconds", "Time that a caller waited for a connection to a shard.", labels: ["shard"],
        bounds: MeasureBounds.brief)
    public static let poolConnections = Measure<Gauge>.gauge(
        "switchboard_pool_connections", "Connections to a shard; what is neither busy nor idle is being made.",
        labels: ["shard", "state"])
    public static let redisCommand = Measure<Timer>.seconds(
        "switchboard_redis_command_seconds", "Time from sending a command, script or pipeline to Redis to its answer.",
        bounds: MeasureBounds.brief)
    public static let brokerConfirm = Measure<Timer>.seconds(
        "switchboard_broker_confirm_seconds", "Time from a publish to the broker's confirm.",
        bounds: MeasureBounds.brief)

    // Traces
    public static let spansExported = Measure<Counter>.counter(
        "switchboard_trace_spans_exported_total", "Spans that a collector took.")
    public static let spansDropped = Measure<Counter>.counter(
        "switchboard_trace_spans_dropped_total",
        "Spans that were lost: no_room in the process, refused by the collector, or it was unreachable.",
        labels: ["reason"])

    static let everybody: [any AnyMeasure] = [
        residentMemory, cpuSeconds, openDescriptors, maximumDescriptors, startTime, buildInfo, seriesDropped,
        breakerState, breakerOpenings, breakerRefusals, dependencyFailures, brokerConnects, shardQuery, poolWait,
        poolConnections, redisCommand, brokerConfirm, spansExported, spansDropped,
    ]
}
