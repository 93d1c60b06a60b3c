/// What an orchestrator asks of a node: the message on `node.<incarnation>`.
public struct GenerationJob: Sendable, Codable, Equatable {
    public static let formatVersion = 1

    public var version = GenerationJob.formatVersion
    public let turn: TurnID
    /// The lease's epoch and the number of this attempt: a node drops what an older pair asks for.
    public let epoch: Int64
    public let attempt: Int
    /// Where the tokens go: the inbox of the orchestrator that holds the lease.
    public let orchestrator: String
    /// Whose turn it is: a node shares the KV blocks of equal prompts within a tenant only, and without a name not at all.
    public let tenant: String?
    /// Token ids of the prompt, then of what the turn's log already holds. Ids, never text: text could tokenize anew.
    public let prompt: [Int32]
    public let outputSoFar: [Int32]
    public let sampling: Turn.Sampling
    public let kind: Turn.Kind
    /// Unix time in milliseconds of the Redis clock after which nobody wants the tokens.
    public let deadline: Int64
    /// The W3C trace context of this attempt; nil when nobody traces it.
    public var traceparent: String?
    public var tracestate: String?

    public init(
        turn: TurnID, epoch: Int64, attempt: Int, orchestrator: String, tenant: String?, prompt: [Int32],
        outputSoFar: [Int32], sampling: Turn.Sampling, kind: Turn.Kind, deadline: Int64, traceparent: String? = nil,
        tracestate: String? = nil
    ) {
        self.turn = turn
        self.epoch = epoch
        self.attempt = attempt
        self.orchestrator = orchestrator
        self.tenant = tenant
        self.prompt = prompt
        self.outputSoFar = outputSoFar
        self.sampling = sampling
        self.kind = kind
        self.deadline = deadline
        self.traceparent = traceparent
        self.tracestate = tracestate
    }
}

/// An order to a node on its control channel, which no prompt stands in the way of.
public struct NodeControl: Sendable, Codable, Equatable {
    public let cancel: TurnID
    /// Work of this epoch and attempt, or older, is cancelled; newer work goes on.
    public let epoch: Int64
    public let attempt: Int

    public init(cancel: TurnID, epoch: Int64, attempt: Int) {
        self.cancel = cancel
        self.epoch = epoch
        self.attempt = attempt
    }

    public static func channel(node: String) -> String { "control:\(node)" }
}
