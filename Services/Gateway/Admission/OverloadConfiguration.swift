import ServiceKit

/// What the environment says about overload.
struct OverloadConfiguration: Sendable {
    let bounds: Admission.Bounds
    let ladder: DegradationLadder
    let answerLifetime: Duration
    let answerBytes: Int

    init(_ settings: Settings) throws {
        bounds = Admission.Bounds(
            premium: try settings(Settings.admissionPremium), standard: try settings(Settings.admissionStandard),
            economy: try settings(Settings.admissionEconomy))
        let context = try settings(Settings.degradeContext)
        let maxTokens = try settings(Settings.degradeMaxTokens)
        ladder = DegradationLadder(
            answers: .init(try settings(Settings.answerCache)), contextTokens: context > 0 ? context : nil,
            maxTokens: maxTokens > 0 ? maxTokens : nil, lighterModel: try settings.optional(Settings.degradeModel),
            start: Double(try settings(Settings.degradeAt)) / 100)
        answerLifetime = try settings(Settings.answerCacheLifetime)
        answerBytes = try settings(Settings.answerCacheSize) << 20
    }
}

extension DegradationLadder.AnswerReuse {
    fileprivate init(_ setting: AnswerCaching) {
        switch setting {
        case .off: self = .off
        case .overload: self = .underLoad
        case .always: self = .always
        }
    }
}
