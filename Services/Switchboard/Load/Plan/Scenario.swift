import ArgumentParser

/// What a load is like; every option that is given goes before its scenario's.
enum Scenario: String, Sendable, CaseIterable, ExpressibleByArgument {
    /// Answers of ordinary length, one after the other, at so many clients or so many a second.
    case streaming
    /// People: conversations of several turns, with pauses to read and to type.
    case users
    /// Few long streams whose connections break now and then.
    case longRunning = "long-running"

    var streams: Int {
        switch self {
        case .streaming: 10
        case .users: 50
        case .longRunning: 100
        }
    }

    var duration: Duration { self == .longRunning ? .seconds(300) : .seconds(60) }
    var maxTokens: Int { self == .longRunning ? 1000 : 64 }
    var thinking: Duration { self == .users ? .seconds(5) : .zero }
    var prompts: String { self == .users ? "conversation" : "short" }
    var reconnects: ReconnectPlan { self == .longRunning ? .every(.seconds(30)) : .never }
}
