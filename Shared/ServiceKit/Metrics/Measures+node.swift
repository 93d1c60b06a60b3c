import Metrics

extension Measures {
    private static let model = ["model_name"]

    public static let nodeRunning = Measure<Gauge>.gauge(
        "vllm:num_requests_running", "Sequences that hold KV blocks.", labels: model)
    public static let nodeWaiting = Measure<Gauge>.gauge(
        "vllm:num_requests_waiting", "Requests that wait for admission, preempted ones included.", labels: model)
    public static let nodeCacheUsage = Measure<Gauge>.gauge(
        "vllm:kv_cache_usage_perc", "Share of the KV blocks that have an owner; 1 is all.", labels: model)
    public static let nodePrefixQueries = Measure<Counter>.counter(
        "vllm:prefix_cache_queries_total", "Tokens of admitted requests that were looked for in the prefix cache.",
        labels: model)
    public static let nodePrefixHits = Measure<Counter>.counter(
        "vllm:prefix_cache_hits_total", "Tokens of them that the prefix cache had.", labels: model)
    public static let nodePreemptions = Measure<Counter>.counter(
        "vllm:num_preemptions_total", "Sequences whose KV blocks were taken for others.", labels: model)
    public static let nodePromptTokens = Measure<Counter>.counter(
        "vllm:prompt_tokens_total", "Tokens of the prompts of admitted requests.", labels: model)
    public static let nodeGenerationTokens = Measure<Counter>.counter(
        "vllm:generation_tokens_total", "Tokens generated.", labels: model)
    public static let nodeRequestsEnded = Measure<Counter>.counter(
        "vllm:request_success_total", "Requests that ended, by how: stop, length, abort or error.",
        labels: model + ["finished_reason"])
    public static let nodeFirstToken = Measure<Timer>.seconds(
        "vllm:time_to_first_token_seconds", "Time from a request's arrival at the node to its first token.",
        labels: model, bounds: MeasureBounds.firstToken)
    public static let nodeBetweenTokens = Measure<Timer>.seconds(
        "vllm:inter_token_latency_seconds", "Time between two tokens of a request; those of one step share it.",
        labels: model, bounds: MeasureBounds.betweenTokens)
    public static let nodeRequestTime = Measure<Timer>.seconds(
        "vllm:e2e_request_latency_seconds", "Time from a request's arrival at the node to its end.", labels: model,
        bounds: MeasureBounds.request)
    public static let nodeQueueTime = Measure<Timer>.seconds(
        "vllm:request_queue_time_seconds", "Time from a request's arrival at the node to its first step.",
        labels: model, bounds: MeasureBounds.request)
    public static let nodePrefillTime = Measure<Timer>.seconds(
        "vllm:request_prefill_time_seconds", "Time from a request's first step to its first token.", labels: model,
        bounds: MeasureBounds.request)
    public static let nodeDecodeTime = Measure<Timer>.seconds(
        "vllm:request_decode_time_seconds", "Time from a request's first token to its end.", labels: model,
        bounds: MeasureBounds.request)
    public static let engineStep = Measure<Timer>.seconds(
        "switchboard_engine_step_seconds", "Time of an engine step.", labels: model,
        bounds: MeasureBounds.betweenTokens)
    public static let engineStepTokens = Measure<Recorder>.distribution(
        "switchboard_engine_step_tokens",
        "Rows that a step computed: tokens of prompts, drafts and one for each decode.",
        labels: model, bounds: MeasureBounds.stepTokens)

    static let node: [any AnyMeasure] = [
        nodeRunning, nodeWaiting, nodeCacheUsage, nodePrefixQueries, nodePrefixHits, nodePreemptions,
        nodePromptTokens, nodeGenerationTokens, nodeRequestsEnded, nodeFirstToken, nodeBetweenTokens,
        nodeRequestTime, nodeQueueTime, nodePrefillTime, nodeDecodeTime, engineStep, engineStepTokens,
    ]
}
