/// What an orchestrator says about its work several times a second: to its peers, which share the nodes' places with it,
/// and to whoever estimates how long a new turn would wait.
public struct OrchestratorLoad: Sendable, Codable, Equatable {
    /// A tenant's turns that wait for a place, and how many users they belong to.
    public struct WaitingTenant: Sendable, Codable, Equatable {
        public let tenant: String
        public let turns: Int
        public let users: Int

        public init(tenant: String, turns: Int, users: Int) {
            self.tenant = tenant
            self.turns = turns
            self.users = users
        }
    }

    /// The waiting turns of one kind: by tenant, those with the most turns first, and the sum of all further tenants.
    public struct Waiting: Sendable, Codable, Equatable {
        /// Tenants that are named; more make an announcement long.
        public static let maximumTenants = 64

        public let tenants: [WaitingTenant]
        public let furtherTenants: Int
        public let furtherTurns: Int

        public static let none = Waiting([])

        public var turns: Int { tenants.reduce(furtherTurns.asCount) { $0 + $1.turns.asCount } }

        public init(_ all: [WaitingTenant]) {
            let sorted = all.sorted { ($1.turns, ExactName($0.tenant)) < ($0.turns, ExactName($1.tenant)) }
            tenants = Array(sorted.prefix(Waiting.maximumTenants))
            let further = sorted.dropFirst(Waiting.maximumTenants)
            furtherTenants = further.count
            furtherTurns = further.reduce(0) { $0 + $1.turns }
        }
    }

    public let id: String
    public var waiting: ByKind<Waiting>
    /// Turns that have a place at a node, by kind and by the node's id.
    public var running: ByKind<Int>
    public var used: [String: Int]
    /// Places at all living nodes, whoever uses them.
    public var places: Int
    /// Seconds that a turn keeps its place, a mean over recent turns of the kind; nil before the first.
    public var serviceSeconds: ByKind<Double?>
    /// Seconds from a node's hearing of a turn to its first token, a mean over recent turns; nil before the first.
    public var firstTokenSeconds: Double?
    /// For each turn queue the acceptance of the newest turn that came out of it, in Unix milliseconds of the Redis clock:
    /// what lies in the queue is younger, or has come to it anew. Nil before the first, and of older versions.
    public var newestDelivered: [String: Int64]?
    /// By model, what of text its context can hold; nil of models where that is not known, and of older versions.
    public var contexts: [String: ContextBound]?

    public init(
        id: String, waiting: ByKind<Waiting> = ByKind(repeating: .none), running: ByKind<Int> = ByKind(repeating: 0),
        used: [String: Int] = [:], places: Int = 0, serviceSeconds: ByKind<Double?> = ByKind(repeating: nil),
        firstTokenSeconds: Double? = nil
    ) {
        self.id = id
        self.waiting = waiting
        self.running = running
        self.used = used
        self.places = places
        self.serviceSeconds = serviceSeconds
        self.firstTokenSeconds = firstTokenSeconds
    }

    public var waitingTurns: Int { Turn.Kind.byUrgency.reduce(0) { $0 + waiting[$1].turns } }

    /// Whether turns wait that somebody sits in front of.
    public var hasInteractiveTurnsWaiting: Bool { waiting.stream.turns + waiting.chat.turns > 0 }
}

extension Int {
    /// A number of turns or users out of a store, where anybody may have written anything: none below 0, and so small
    /// that sums and products of a few of them exist.
    var asCount: Int { Swift.min(Swift.max(self, 0), 1_000_000) }
}
