import Foundation

/// All that one run of `switchboard load` is to do. Made from the command's options, and checked before anything starts.
struct LoadPlan: Sendable {
    /// What a turn is begun with, and what happens to it then.
    enum Kind: String, Sendable, CaseIterable {
        /// POST /stream-chat, and the stream is followed to its end.
        case stream
        /// POST /stream-chat, and nobody follows: only accepting is measured. The cluster cancels what nobody reads.
        case begin
        /// POST /async-chat, and nobody asks for the answer.
        case async

        var path: String { self == .async ? "/async-chat" : "/stream-chat" }
        var isFollowed: Bool { self == .stream }
    }

    var gateways: [GatewayAddress]
    var apiKey: String
    var kind = Kind.stream
    var arrivals: Arrivals.Pattern
    /// Turns that are open at a time; an arrival beyond them is not begun, and is counted.
    var streams: Int
    /// From the start to when nothing more is begun.
    var duration: Duration
    /// What is open then has this long to end; the rest is cut.
    var drain: Duration
    /// Between the end of a client's turn and its next, at the mean.
    var thinking: Duration = .zero
    var users: Int
    var maxTokens: Int
    var mix = PromptMix.short
    var prompts: [String] = []
    var reconnects = ReconnectPlan.never
    /// A PEM file of the certificates that gateways with https are trusted by; nil for the system's.
    var trustedCertificates: String?
    /// A connection on which nothing comes for so long is given up. Gateways send a comment every GATEWAY_HEARTBEAT.
    var silence: Duration = .seconds(45)
    /// For one request that is answered at once.
    var requestTimeout: Duration = .seconds(10)
    /// Time without any sign of life after which a turn is given up.
    var patience: Duration = .seconds(60)
    /// The same seed gives the same prompts at the same times, as far as the cluster's answers are the same.
    var seed: UInt64

    /// Open turns of an open system when --streams does not say.
    static let defaultOpen = 10_000
    static let maximumStreams = 100_000
    static let maximumRate = 100_000.0
    static let maximumDuration: Duration = .seconds(24 * 3600)
    static let maximumUsers = 1_000_000
    static let maximumTokens = 131_072
    static let maximumGateways = 64
    /// Connections to one gateway for requests that are answered at once; what finds none waits.
    static let maximumRequestConnections = 1024
    /// Descriptors that are needed beside the connections.
    static let spareDescriptors = 64

    /// - Throws: for the first value that is out of its bounds.
    func check(allowRemote: Bool) throws(LoadError) {
        guard (1...LoadPlan.maximumGateways).contains(gateways.count) else {
            throw .invalid(option: "--gateway", "must name 1 to \(LoadPlan.maximumGateways) gateways")
        }
        if !allowRemote, let remote = gateways.first(where: { !$0.isLoopback }) {
            throw .invalid(
                option: "--gateway",
                "\(remote.authority) is not this machine; --allow-remote says that its owner knows of the load")
        }
        try check("--streams", streams, 1...LoadPlan.maximumStreams)
        try check("--users", users, 1...LoadPlan.maximumUsers)
        try check("--max-tokens", maxTokens, 1...LoadPlan.maximumTokens)
        if case .rate(let rate) = arrivals, !(rate > 0 && rate <= LoadPlan.maximumRate) {
            throw .invalid(option: "--rate", "must be above 0 and at most \(Int(LoadPlan.maximumRate))")
        }
        guard duration > .zero, duration <= LoadPlan.maximumDuration else {
            throw .invalid(option: "--duration", "must be above 0 and at most 24h")
        }
        guard ramp <= duration else { throw .invalid(option: "--ramp", "must not be longer than --duration") }
        for (option, time) in [("--drain", drain), ("--think", thinking)] where time > LoadPlan.maximumDuration {
            throw .invalid(option: option, "must be at most 24h")
        }
        guard !apiKey.isEmpty, apiKey.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalid(option: "the API key", "is none")
        }
        guard prompts.isEmpty == !mix.contains(.file) else {
            throw .invalid(option: "--prompts", "names `file` if and only if --prompt-file is given")
        }
    }

    private func check(_ option: String, _ value: Int, _ range: ClosedRange<Int>) throws(LoadError) {
        guard range.contains(value) else {
            throw .invalid(option: option, "must be between \(range.lowerBound) and \(range.upperBound)")
        }
    }

    /// Connections that may be open at a time.
    var connections: Int {
        (kind.isFollowed ? streams : 0) + min(streams, LoadPlan.maximumRequestConnections * gateways.count)
    }
}

/// Why a load cannot be made; what of it went wrong is in its report.
enum LoadError: Error, CustomStringConvertible, Equatable {
    case invalid(option: String, String)

    var description: String {
        switch self {
        case .invalid(let option, let why): "\(option) \(why)"
        }
    }
}
