/// Every setting there is. The first line of `help` is what `--help` and `.env.example` show.
public enum LogFormat: String, Sendable, CaseIterable { case automatic, text, json }
public enum LogLevel: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error, critical }

public enum KVCacheType: String, Sendable, CaseIterable { case f16, bf16, q8 }
public enum KVBlocks: Sendable, Equatable { case automatic, count(Int) }
public enum MatrixBackend: String, Sendable, CaseIterable { case automatic, openblas, panel }
public enum AnswerCaching: String, Sendable, CaseIterable { case off, overload, always }
public enum DraftSource: String, Sendable, CaseIterable { case off, lookup, draft }

/// What becomes of requests that cannot be counted.
public enum UncountedRequests: String, Sendable, CaseIterable { case refuse, allow }

/// What becomes of requests with fields that the API does not know.
public enum UnknownFields: String, Sendable, CaseIterable { case refuse, ignore }

extension Settings {
    // The model and the engine
    public static let modelPath = Setting<String>.text(
        "MODEL_PATH", default: nil, help: "the GGUF file of the model, or its Hugging Face folder")
    public static let modelName = Setting<String>.text(
        "MODEL_NAME", default: "SmolLM2-135M-Instruct", help: "the model's name in the API")
    public static let chatTemplateFile = Setting<String>.text(
        "CHAT_TEMPLATE_FILE", default: nil,
        help: "a chat template (Jinja) that stands for the model's own; without either, ChatML")
    public static let maxConcurrent = Setting<Int>.integer(
        "MAX_CONCURRENT", default: 64, in: 1...16_384, help: "sequences that a node generates at the same time")
    public static let engineThreads = Setting<Int>.integer(
        "ENGINE_THREADS", default: 0, in: 0...64, help: "threads of the engine; 0 takes every core")
    public static let engineKVBlocks = Setting<KVBlocks>.kvBlocks(
        "ENGINE_KV_BLOCKS", default: "auto", in: 16...4_000_000,
        help: "blocks of 16 tokens in the KV cache; auto is what MAX_CONCURRENT contexts take or memory allows")
    public static let engineKVType = Setting<KVCacheType>.choice(
        "ENGINE_KV_TYPE", default: .f16, help: "what keys and values are stored as; q8 takes half of the memory")
    public static let engineStepTokens = Setting<Int>.integer(
        "ENGINE_STEP_TOKENS", default: 256, in: 16...4096, help: "tokens that one step computes at most")
    public static let engineSwap = Setting<Int>.integer(
        "ENGINE_SWAP_MIB", default: 0, in: 0...1_048_576,
        help: "MiB of a temporary file for the KV blocks of preempted sequences; 0 computes them again")
    public static let engineKernels = Setting<String>.text(
        "ENGINE_KERNELS", default: "auto", help: "kernels: auto, avx512, avxvnni, avx2, neondot, neon or scalar")

    public static let engineMatrices = Setting<MatrixBackend>.choice(
        "ENGINE_FULL_PRECISION", default: .automatic,
        help: "what multiplies F32, F16 and BF16 matrices; automatic takes OpenBLAS where it proves invariant")

    public static let engineSpeculation = Setting<DraftSource>.choice(
        "ENGINE_SPECULATION", default: .lookup,
        help: "who guesses tokens ahead: nobody, the text itself, or a draft model; the tokens are the same")
    public static let engineDraftModel = Setting<String>.text(
        "ENGINE_DRAFT_MODEL", default: nil, help: "the draft model: a GGUF file or a folder, of the model's vocabulary")

    public static let nodeDrain = Setting<Duration>.duration(
        "NODE_DRAIN", default: "10s",
        help: "time that a node which is told to stop gives its turns to end; the rest goes on elsewhere")

    // Stores
    public static let redisHost = Setting<String>.text("REDIS_HOST", default: "127.0.0.1", help: "host of Redis")
    public static let redisPort = Setting<Int>.integer(
        "REDIS_PORT", default: 6379, in: 1...65535, help: "port of Redis")
    public static let redisPassword = Setting<String>.text(
        "REDIS_PASSWORD", default: nil, help: "password of Redis; none when absent", isSecret: true)
    public static let redisPoolSize = Setting<Int>.integer(
        "REDIS_POOL_SIZE", default: 2, in: 1...64, help: "connections to Redis; each carries many commands at a time")
    public static let redisHighWatermark = Setting<Int>.integer(
        "REDIS_HIGH_WATERMARK", default: 80, in: 1...100,
        help: "per cent of Redis' maxmemory at which new turns get 503 and running ones end; 100 refuses none")
    public static let rabbitURI = Setting<String>.text(
        "RABBITMQ_URI", default: "amqp://guest:guest@127.0.0.1:5672/", help: "the broker, as an AMQP URI",
        isSecret: true)
    public static let queueMaximumSize = Setting<Int>.integer(
        "QUEUE_MAX_MIB", default: 1024, in: 1...1_048_576,
        help: "MiB of messages that each turn queue, each response queue and the dead letters hold at most")
    public static let databaseShards = Setting<String>.text(
        "DATABASE_SHARDS", default: nil,
        help: "PostgreSQL URIs of the shards, with commas between; the first holds the directory",
        isSecret: true)
    public static let databaseReplicas = Setting<String>.text(
        "DATABASE_REPLICAS", default: nil, help: "read replicas of the shards, in the same order (not read yet)",
        isSecret: true)
    public static let databasePoolSize = Setting<Int>.integer(
        "DATABASE_POOL_SIZE", default: 4, in: 1...64, help: "connections to each shard")

    // The gateway
    public static let gatewayHost = Setting<String>.text(
        "GATEWAY_HOST", default: "127.0.0.1",
        help:
            "address that the gateway listens on; 127.0.0.1 and localhost are both loopbacks, ::1 too where there is one"
    )
    public static let gatewayPort = Setting<Int>.integer(
        "GATEWAY_PORT", default: 8080, in: 0...65535, help: "port that the gateway listens on")
    public static let gatewayMaxBody = Setting<Int>.integer(
        "GATEWAY_MAX_BODY_BYTES", default: 1 << 20, in: 1024...(3 << 20),
        help: "largest request body; a larger one gets 413")
    public static let gatewayBodies = Setting<Int>.integer(
        "GATEWAY_BODIES_MIB", default: 64, in: 8...65_536,
        help: "MiB of request bodies in hand at a time, of one key half as many; what comes beyond gets 503")
    public static let gatewayHeartbeat = Setting<Duration>.duration(
        "GATEWAY_HEARTBEAT", default: "15s", help: "silence on a stream after which a comment is sent")
    public static let gatewayDrain = Setting<Duration>.duration(
        "GATEWAY_DRAIN", default: "10s",
        help: "time that streams are given to end when the gateway is asked to stop, before their clients are sent away"
    )
    public static let gatewayMaxConnections = Setting<Int>.integer(
        "GATEWAY_MAX_CONNECTIONS", default: 12_000, in: 10...1_000_000,
        help: "connections that are open at a time; nine tenths of them may follow turns")
    public static let gatewayIdleTimeout = Setting<Duration>.duration(
        "GATEWAY_IDLE_TIMEOUT", default: "60s",
        help: "time that a connection may bring nothing, between requests or within one, or take nothing of an answer")
    public static let gatewayKeyShare = Setting<Int>.integer(
        "GATEWAY_KEY_SHARE", default: 95, in: 1...100,
        help: "percent of a gateway's places for clients that follow turns which one key may have")
    public static let gatewayReadsPerSecond = Setting<Int>.integer(
        "GATEWAY_READS_PER_SECOND", default: 2000, in: 0...1_000_000,
        help:
            "requests a second that begin no turn (GET, DELETE) of one key at a gateway, on average over 20 s; 0 lifts the limit"
    )
    public static let unknownFields = Setting<UnknownFields>.choice(
        "UNKNOWN_FIELDS", default: .refuse,
        help: "what becomes of requests with unknown fields; ignored ones are named in the header X-Ignored-Fields")
    public static let corsOrigins = Setting<String>.text(
        "CORS_ORIGINS", default: nil,
        help: "origins whose pages may call the API from a browser, with commas between, or *; none when absent")
    public static let rateLimitChat = Setting<Int>.integer(
        "RATE_LIMIT_CHAT", default: 20, in: 0...100_000,
        help: "POST /chat requests a minute for each key and user; 0 lifts the limit")
    public static let rateLimitStream = Setting<Int>.integer(
        "RATE_LIMIT_STREAM", default: 120, in: 0...100_000,
        help: "POST /stream-chat requests a minute for each key and user; 0 lifts the limit")
    public static let rateLimitAsync = Setting<Int>.integer(
        "RATE_LIMIT_ASYNC", default: 120, in: 0...100_000,
        help: "POST /async-chat requests a minute for each key and user; 0 lifts the limit")
    public static let rateLimitTenant = Setting<Int>.integer(
        "RATE_LIMIT_TENANT", default: 12_000, in: 0...1_000_000,
        help: "requests for turns a minute for each tenant, all its keys and users together; 0 lifts the limit")
    public static let rateLimitWithoutRedis = Setting<UncountedRequests>.choice(
        "RATE_LIMIT_WITHOUT_REDIS", default: .refuse,
        help: "what becomes of requests that cannot be counted because Redis does not answer")
    public static let gatewayMaxBacklog = Setting<Int>.integer(
        "GATEWAY_MAX_BACKLOG", default: 50_000, in: 1...100_000,
        help: "ended turns that may wait for a user's shard; beyond them the user's new turns get 503")
    public static let maxOutstanding = Setting<Int>.integer(
        "MAX_OUTSTANDING_PER_USER", default: 64, in: 1...100_000,
        help: "turns of one user that may be unfinished at a time")
    public static let maxOutstandingTenant = Setting<Int>.integer(
        "MAX_OUTSTANDING_PER_TENANT", default: 16_384, in: 1...1_000_000,
        help: "turns of one tenant that may be unfinished at a time")
    public static let maxOutstandingTenantBytes = Setting<Int>.integer(
        "MAX_OUTSTANDING_PER_TENANT_BYTES", default: 64 << 20, in: 1...(1 << 40),
        help: "bytes that the unfinished turns of one tenant may have together, as their messages are queued")

    // Overload
    public static let admissionPremium = Setting<Duration>.duration(
        "ADMISSION_PREMIUM", default: "2m",
        help: "estimated wait for the first token beyond which turns of premium keys get 503; 0s lifts the bound")
    public static let admissionStandard = Setting<Duration>.duration(
        "ADMISSION_STANDARD", default: "1m", help: "the same for standard keys")
    public static let admissionEconomy = Setting<Duration>.duration(
        "ADMISSION_ECONOMY", default: "20s", help: "the same for economy keys")
    public static let degradeAt = Setting<Int>.integer(
        "DEGRADE_AT", default: 50, in: 1...100,
        help: "percent of the tier's bound at which the first of the steps below is taken; the others follow up to it")
    public static let answerCache = Setting<AnswerCaching>.choice(
        "ANSWER_CACHE", default: .off,
        help: "when identical requests with temperature 0 or a seed get the same answer again, within a tenant")
    public static let degradeContext = Setting<Int>.integer(
        "DEGRADE_CONTEXT_TOKENS", default: 0, in: 0...10_000_000,
        help: "under load, tokens to which history fills a prompt; 0 leaves it whole")
    public static let degradeMaxTokens = Setting<Int>.integer(
        "DEGRADE_MAX_TOKENS", default: 0, in: 0...131_072, help: "under load, the largest max_tokens; 0 leaves it")
    public static let degradeModel = Setting<String>.text(
        "DEGRADE_MODEL", default: nil, help: "under load, the model of requests that name none; nodes must serve it")
    public static let degradeModelPath = Setting<String>.text(
        "DEGRADE_MODEL_PATH", default: nil, help: "file or folder of that model, for its tokenizer")
    public static let answerCacheLifetime = Setting<Duration>.duration(
        "ANSWER_CACHE_TTL", default: "10m", help: "time that an answer is kept for identical requests")
    public static let answerCacheSize = Setting<Int>.integer(
        "ANSWER_CACHE_MIB", default: 16, in: 1...4096, help: "MiB of answers that are kept for each tenant")

    // Turns
    public static let turnDeadline = Setting<Duration>.duration(
        "TURN_DEADLINE", default: "5m", help: "time after accept by which a chat or stream turn ends")
    public static let turnBatchDeadline = Setting<Duration>.duration(
        "TURN_BATCH_DEADLINE", default: "15m",
        help: "the same for asynchronous turns; at most half the broker's consumer time-out")
    public static let turnRetention = Setting<Duration>.duration(
        "TURN_RETENTION", default: "1h", help: "time that an ended turn's log stays in Redis")
    public static let turnMaxTokens = Setting<Int>.integer(
        "TURN_MAX_TOKENS", default: 256, in: 1...131_072, help: "max_tokens of a request that names none")
    public static let turnPoisonAttempts = Setting<Int>.integer(
        "TURN_POISON_ATTEMPTS", default: 5, in: 1...100,
        help: "attempts in a row that begin at a node and bring no token, after which a turn becomes a dead letter")
    public static let turnRetries = Setting<Int>.integer(
        "TURN_RETRIES", default: 3, in: 0...100, help: "times that a turn whose generation failed is tried again")
    public static let turnRetryMaxDelay = Setting<Duration>.duration(
        "TURN_RETRY_MAX_DELAY", default: "16s",
        help: "longest wait between two tries of a turn, 1s to 64s; waits double from 1s on")
    public static let turnHedgeBudget = Setting<Int>.integer(
        "TURN_HEDGE_BUDGET", default: 0, in: 0...100,
        help:
            "share of work, in percent, that premium turns may cause twice to be had from the faster of two nodes; 0 is off"
    )
    public static let detachGrace = Setting<Duration>.duration(
        "DETACH_GRACE", default: "30s", help: "time that a stream without a reader goes on before it is cancelled")

    // The orchestrator and the queue worker
    public static let orchestratorPrefetch = Setting<Int>.integer(
        "ORCHESTRATOR_PREFETCH", default: 1024, in: 1...10_000,
        help: "turns that an orchestrator takes from each queue at a time")
    public static let tokenDeadline = Setting<Duration>.duration(
        "TOKEN_DEADLINE", default: "1500ms",
        help: "time without a step after which a node's engine that has work counts as hung")
    public static let batchPatience = Setting<Duration>.duration(
        "BATCH_PATIENCE", default: "1m",
        help: "time that an asynchronous turn waits for free capacity before it counts as a chat")
    public static let workerBatch = Setting<Int>.integer(
        "WORKER_BATCH", default: 128, in: 1...500, help: "outcomes that are settled in one statement at most")

    public static let deadLetterRetention = Setting<Duration>.duration(
        "DEAD_LETTER_RETENTION", default: "720h", help: "time that a dead letter stays for replay before it is dropped")

    // The chat in the terminal
    public static let chatGateways = Setting<String>.text(
        "CHAT_GATEWAYS", default: nil,
        help:
            "URLs of gateways for `switchboard chat` and `load`, with commas between; they go on at the next when one dies "
            + "(default: the gateway that `make up` runs, else http://127.0.0.1:8080)")
    public static let chatAPIKey = Setting<String>.text(
        "CHAT_API_KEY", default: nil, help: "the API key for `switchboard chat` and `load`", isSecret: true)

    // The operator's port
    public static let operatorHost = Setting<String>.text(
        "OPERATOR_HOST", default: "127.0.0.1",
        help: "address on which /metrics, /livez and /readyz of every service listen, apart from its clients")
    public static let gatewayOperatorPort = Setting<Int>.integer(
        "GATEWAY_OPERATOR_PORT", default: 9484, in: 0...65535,
        help: "the gateway's port for them and /health; 0 takes a free one and logs it")
    public static let orchestratorOperatorPort = Setting<Int>.integer(
        "ORCHESTRATOR_OPERATOR_PORT", default: 9481, in: 0...65535,
        help: "the orchestrator's; 0 likewise")
    public static let workerOperatorPort = Setting<Int>.integer(
        "WORKER_OPERATOR_PORT", default: 9482, in: 0...65535, help: "the queue worker's; 0 likewise")
    public static let nodeOperatorPort = Setting<Int>.integer(
        "NODE_OPERATOR_PORT", default: 9483, in: 0...65535, help: "the inference node's; 0 likewise")

    // Traces
    public static let tracesEndpoint = Setting<String>.text(
        "OTEL_EXPORTER_OTLP_ENDPOINT", default: nil,
        help: "base URL of an OTLP/HTTP collector for traces, such as http://127.0.0.1:4318; nothing is traced without")
    public static let tracesHeaders = Setting<String>.text(
        "OTEL_EXPORTER_OTLP_HEADERS", default: nil,
        help: "headers of each export as name=value, with commas between, values percent-encoded", isSecret: true)
    public static let tracesShare = Setting<Double>.number(
        "OTEL_TRACES_SAMPLER_ARG", default: 1, in: 0...1,
        help: "share of the traces begun here that is recorded; a client's traceparent decides for its own")

    // Logs
    public static let logLevel = Setting<LogLevel>.choice(
        "LOG_LEVEL", default: .info, help: "least level that is logged")
    public static let logFormat = Setting<LogFormat>.choice(
        "LOG_FORMAT", default: .automatic, help: "automatic is text on a terminal, JSON otherwise")

    static let groups: [(title: String, settings: [any AnySetting])] = [
        (
            "The model and the engine",
            [
                modelPath, modelName, chatTemplateFile, maxConcurrent, engineThreads, engineKVBlocks, engineKVType,
                engineStepTokens,
                engineSwap,
                engineKernels, engineMatrices, engineSpeculation, engineDraftModel, nodeDrain,
            ]
        ),
        (
            "Stores",
            [
                redisHost, redisPort, redisPassword, redisPoolSize, redisHighWatermark, rabbitURI, queueMaximumSize,
                databaseShards, databaseReplicas, databasePoolSize,
            ]
        ),
        (
            "Gateway",
            [
                gatewayHost, gatewayPort, gatewayMaxBody, gatewayBodies, gatewayHeartbeat, gatewayDrain,
                gatewayMaxConnections,
                gatewayIdleTimeout, gatewayKeyShare, gatewayReadsPerSecond, unknownFields, corsOrigins, rateLimitChat,
                rateLimitStream, rateLimitAsync, rateLimitTenant, rateLimitWithoutRedis, maxOutstanding,
                maxOutstandingTenant, maxOutstandingTenantBytes, gatewayMaxBacklog,
            ]
        ),
        (
            "Overload",
            [
                admissionPremium, admissionStandard, admissionEconomy, degradeAt, answerCache, degradeContext,
                degradeMaxTokens, degradeModel, degradeModelPath, answerCacheLifetime, answerCacheSize,
            ]
        ),
        (
            "Turns",
            [
                turnDeadline, turnBatchDeadline, turnRetention, turnMaxTokens, turnPoisonAttempts, turnRetries,
                turnRetryMaxDelay, turnHedgeBudget, detachGrace,
            ]
        ),
        (
            "Orchestrator and queue worker",
            [orchestratorPrefetch, tokenDeadline, batchPatience, workerBatch, deadLetterRetention]
        ),
        (
            "The operator's port",
            [operatorHost, gatewayOperatorPort, orchestratorOperatorPort, workerOperatorPort, nodeOperatorPort]
        ),
        ("The chat in the terminal", [chatGateways, chatAPIKey]),
        ("Traces", [tracesEndpoint, tracesHeaders, tracesShare]),
        ("Logs", [logLevel, logFormat]),
    ]

    static let catalogue = groups.flatMap(\.settings)

    /// The catalogue as `.env.example` has it; a test keeps the file equal to this.
    public static var example: String {
        groups.map { group in
            "# \(group.title)\n"
                + group.settings.map { setting in
                    let value = setting.defaultText ?? ""
                    return "# \(setting.help)\n\(setting.defaultText == nil ? "# " : "")\(setting.name)=\(value)\n"
                }.joined()
        }.joined(separator: "\n")
    }

    /// The catalogue as `--help` prints it.
    public static var help: String {
        "Settings are read from the environment:\n\n"
            + groups.map { group in
                "\(group.title.uppercased())\n"
                    + group.settings.map { setting in
                        let value = setting.defaultText.map { " (default: \($0))" } ?? ""
                        return "  \(setting.name)\n      \(setting.help)\(setting.isSecret ? "" : value)\n"
                    }.joined()
            }.joined(separator: "\n")
    }
}
